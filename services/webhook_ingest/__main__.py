from libs.runtime.host import main
from services.webhook_ingest.app import build
from services.webhook_ingest.settings import WebhookIngestSettings

main("webhook_ingest", WebhookIngestSettings, build)
