"""The names of the runtime's log events: dotted, in the past tense, with their data in fields."""

from typing import Final

#: A phase of the lifecycle came to its end: ``phase``, ``duration_ms``.
PHASE_COMPLETED: Final = "toolkit.phase_completed"
#: The service takes calls: ``grpc``, ``services``, ``duration_ms`` since the start began.
SERVICE_STARTED: Final = "toolkit.service_started"
#: The stop began: ``reason``.
SERVICE_STOPPING: Final = "toolkit.service_stopping"
#: Everything is stopped: ``duration_ms``, ``errors``.
SERVICE_STOPPED: Final = "toolkit.service_stopped"
#: Something of the manifest or the environment deserves attention: ``warning``.
WARNING_FOUND: Final = "toolkit.warning_found"
#: The manifest declares what this version does not serve: ``what``.
NOT_SERVED: Final = "toolkit.not_served_yet"

#: ``plugin``, ``type``, ``address``, ``duration_ms``.
PLUGIN_OPENED: Final = "toolkit.plugin_opened"
#: The first check passed, and ``prepare`` ran where there is one.
PLUGIN_STARTED: Final = "toolkit.plugin_started"
#: A check during the start did not pass and is tried again: ``cause``, ``retry_in_ms``.
PLUGIN_RETRIED: Final = "toolkit.plugin_retried"
#: A check did not pass; it goes on being retried: ``cause``.
PLUGIN_DEGRADED: Final = "toolkit.plugin_degraded"
#: A check passed again.
PLUGIN_RECOVERED: Final = "toolkit.plugin_recovered"
#: A critical plugin did not start: ``cause``.
PLUGIN_FAILED: Final = "toolkit.plugin_failed"
#: The plugin's background coroutine ended with an error and is started again: ``cause``.
PLUGIN_RUN_FAILED: Final = "toolkit.plugin_run_failed"
PLUGIN_STOPPED: Final = "toolkit.plugin_stopped"
#: Closing raised or took too long; the stop went on: ``cause``.
PLUGIN_STOP_FAILED: Final = "toolkit.plugin_stop_failed"

#: A function marked ``@on_start``/``@on_stop`` ran: ``hook``, ``duration_ms``.
HOOK_COMPLETED: Final = "toolkit.hook_completed"
#: … raised or took too long: ``hook``, ``cause``.
HOOK_FAILED: Final = "toolkit.hook_failed"
#: Calls were still running when the stop's patience ended, and were cancelled: ``calls``.
CALLS_CANCELLED: Final = "toolkit.calls_cancelled"

#: ``--dev`` started a server: ``kind``, ``host``, ``port``, ``binary``, ``seconds``, ``databases``.
DEV_SERVER_STARTED: Final = "toolkit.dev_server_started"
