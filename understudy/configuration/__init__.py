"""The configuration: shipped defaults, one `understudy.toml`, variables, flags; every value with its source.

    configuration = load(file=None, environ=os.environ, flags={"port": 12000})
    configuration.settings.server.port
    print(as_text(configuration.describe()))

Every key, with what it is for, stands in default.toml.
"""

from understudy.configuration.errors import ConfigurationError
from understudy.configuration.flags import FLAGS
from understudy.configuration.kinds import PLACEHOLDER_KEY
from understudy.configuration.loading import FILE, Configuration, load
from understudy.configuration.settings import PUBLIC_ENDPOINT, ModelSettings, Settings
from understudy.configuration.sources import Source
from understudy.configuration.tables import (
    CallSettings,
    ConnectionSettings,
    FallbackSettings,
    LogSettings,
    ServerSettings,
    UserSettings,
)
from understudy.configuration.view import Line, as_json, as_text, as_toml

__all__ = [
    "FILE",
    "FLAGS",
    "PLACEHOLDER_KEY",
    "PUBLIC_ENDPOINT",
    "CallSettings",
    "Configuration",
    "ConfigurationError",
    "ConnectionSettings",
    "FallbackSettings",
    "Line",
    "LogSettings",
    "ModelSettings",
    "ServerSettings",
    "Settings",
    "Source",
    "UserSettings",
    "as_json",
    "as_text",
    "as_toml",
    "load",
]
