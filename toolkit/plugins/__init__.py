"""What a plugin's author needs: the contract, and the field that declares a setting."""

from toolkit.errors import SettingError
from toolkit.plugins.contract import DevNeed, DevServer, Host, PerCall, Plugin
from toolkit.plugins.setting import SettingInfo, setting, setting_info

__all__ = [
    "DevNeed",
    "DevServer",
    "Host",
    "PerCall",
    "Plugin",
    "SettingError",
    "SettingInfo",
    "setting",
    "setting_info",
]
