"""Which client speaks an endpoint's protocol."""

from __future__ import annotations

from core.endpoints import Endpoint
from endpoints.asr_client import AsrClient
from endpoints.funasr_client import FunASRClient
from endpoints.heard import SpeechClient
from endpoints.openai_client import OpenAIClient


def client_of(endpoint: Endpoint) -> SpeechClient:
    """A client of its own for each engine: it remembers what the server refused."""
    match endpoint.kind:
        case "openai":
            return OpenAIClient(endpoint)
        case "asr":
            return AsrClient(endpoint)
        case "funasr":
            return FunASRClient(endpoint)
