"""`python -m services.reconciliation`"""

from libs.runtime.host import main
from services.reconciliation.app import build
from services.reconciliation.settings import ReconciliationSettings

if __name__ == "__main__":
    main("reconciliation", ReconciliationSettings, build)
