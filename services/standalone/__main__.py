"""`python -m services.standalone`: the whole house in one process."""

from libs.runtime.host import start
from services.standalone.parts import parts

if __name__ == "__main__":
    start(parts, "standalone")
