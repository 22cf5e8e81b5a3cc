"""Where broker and store are: the settings that the worker and the command line have, too."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from .errors import SettingsError


def _setting(variable: str, default: str | None = None) -> str:
    value: str = field(default=default or "", metadata={"variable": variable, "required": default is None})
    return value


@dataclass(frozen=True)
class Settings:
    """Where broker and store are, and how the names on them begin.

    A setting that is empty counts as not set. One that is missing is reported when it is needed.
    """

    amqp_url: str = _setting("AMQP_URL")
    """``amqp://user:password@host:port/vhost``, or ``amqps://`` for TLS; one for each node, comma-separated."""
    amqp_ca_file: str = _setting("AMQP_CA_FILE", "")
    amqp_client_cert_file: str = _setting("AMQP_CLIENT_CERT_FILE", "")
    amqp_client_key_file: str = _setting("AMQP_CLIENT_KEY_FILE", "")
    namespace: str = _setting("AMQP_NAMESPACE", "longshore")
    store_endpoint: str = _setting("MINIO_ENDPOINT")
    """``host:port``, or a URL."""
    store_access_key: str = _setting("MINIO_ACCESS_KEY")
    store_secret_key: str = _setting("MINIO_SECRET_KEY")
    store_ssl: str = _setting("MINIO_SSL", "false")
    store_ca_file: str = _setting("MINIO_CA_FILE", "")
    store_region: str = _setting("MINIO_REGION", "us-east-1")
    code_bucket: str = _setting("MINIO_CODE_BUCKET", "custom-bots")
    inputs_bucket: str = _setting("MINIO_INPUTS_BUCKET", "inputs")
    results_bucket: str = _setting("MINIO_BACKTESTS_BUCKET", "test-results")
    logs_bucket: str = _setting("MINIO_LOGS_BUCKET", "bot-logs")
    state_bucket: str = _setting("MINIO_STATE_BUCKET", "longshore-state")
    patience_seconds: float = 60.0
    """How long a call keeps trying while broker or store cannot be reached."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Reads the environment variables that the worker reads, too."""
        found = {}
        for one in fields(cls):
            value = environment.get(one.metadata.get("variable", ""), "")
            if value:
                found[one.name] = value
        return cls(**found)  # type: ignore[arg-type]

    def require(self, *names: str) -> None:
        """Raises `SettingsError` for settings that are not set."""
        variables = {one.name: one.metadata.get("variable", one.name) for one in fields(self)}
        missing = [variables[name] for name in names if not getattr(self, name)]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            raise SettingsError(f"{', '.join(missing)} {verb} not set, in the environment or in Settings(…)")

    @property
    def amqp_urls(self) -> list[str]:
        """One URL for each node of the broker."""
        return [url.strip() for url in self.amqp_url.split(",") if url.strip()]

    @property
    def store_url(self) -> str:
        """The endpoint of the store with its scheme."""
        if "://" in self.store_endpoint:
            return self.store_endpoint
        return ("https://" if self.store_ssl == "true" else "http://") + self.store_endpoint

    def tls(self) -> ssl.SSLContext | None:
        """What a connection to the broker needs beyond the authorities of the system."""
        if not self.amqp_ca_file and not self.amqp_client_cert_file:
            return None
        context = ssl.create_default_context(cafile=self.amqp_ca_file or None)
        if self.amqp_client_cert_file:
            context.load_cert_chain(self.amqp_client_cert_file, self.amqp_client_key_file or None)
        return context
