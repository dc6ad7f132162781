"""`python -m services.analytics`"""

from libs.runtime.host import main
from services.analytics.app import build
from services.analytics.settings import AnalyticsSettings

if __name__ == "__main__":
    main("analytics", AnalyticsSettings, build)
