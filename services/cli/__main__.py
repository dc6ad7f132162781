"""`python -m services.cli` is the `outrider` command."""

from services.cli.main import run

if __name__ == "__main__":
    run()
