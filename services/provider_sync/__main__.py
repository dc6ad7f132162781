"""`python -m services.provider_sync`: settings in, process up."""

from libs.runtime.host import main
from services.provider_sync.app import build
from services.provider_sync.settings import ProviderSyncSettings

if __name__ == "__main__":
    main("provider_sync", ProviderSyncSettings, build)
