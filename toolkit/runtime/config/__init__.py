"""The configuration: every legal variable is known before any is read, and every problem is reported at once."""

from toolkit.runtime.config.env_file import EnvFile, EnvLine, parse_env_file
from toolkit.runtime.config.model import Config, PluginConfig, Variable
from toolkit.runtime.config.prefix import EnvPrefix, join_names, pick_env_prefix
from toolkit.runtime.config.read import read_config

__all__ = [
    "Config",
    "EnvFile",
    "EnvLine",
    "EnvPrefix",
    "PluginConfig",
    "Variable",
    "join_names",
    "parse_env_file",
    "pick_env_prefix",
    "read_config",
]
