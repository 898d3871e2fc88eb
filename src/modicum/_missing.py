"""What a name that is not here tells: that it is to come, what has replaced it, or which name was meant."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeVar

    _T = TypeVar("_T")


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


NOT_YET = {
    "modal": _names(
        "Client CloudBucketMount Cluster Environment NetworkFileSystem Probe "
        "Proxy Sandbox SandboxSnapshot SchedulerPlacement Server Tunnel Volume Workspace "
        "asgi_app billing clustered container_process experimental "
        "fastapi_endpoint forward io_streams sessioned web_endpoint web_server "
        "wsgi_app"
    ),
    "modal.exception": _names(
        "ClientClosed DataLossError ExecTimeoutError InteractiveTimeoutError InternalAPIWarning "
        "LogsFetchError ModuleNotMountable MountUploadTimeoutError SandboxFilesystemDirectoryNotEmptyError "
        "SandboxFilesystemError SandboxFilesystemFileTooLargeError SandboxFilesystemIsADirectoryError "
        "SandboxFilesystemNotADirectoryError SandboxFilesystemNotFoundError SandboxFilesystemPathAlreadyExistsError "
        "SandboxFilesystemPermissionError SandboxTerminatedError SandboxTimeoutError ServerWarning "
        "SnapshotCreationError UserCodeException VolumeUploadTimeoutError WorkspaceManagementError "
        "simulate_preemption"
    ),
    "modal.types": _names(
        "AppStats BillingReportItem CloudBucketMountInfo EnvironmentBillingSummary FileEntry FileEntryType "
        "FileInfo FileType FileWatchEvent FileWatchEventType LogEntry LogSource MemberTokenInfo MetricDefinition "
        "MetricSeries MetricsSchema ObjectMetrics ProxyTokenInfo SandboxConnectCredentials SandboxGroupStats "
        "SandboxRuntime SandboxStats SecretInfo ServerAutoscalerSettings ServerContainerInfo ServerInfo "
        "ServerSessionCredentials ServerStats ServiceUserInfo TimeSeriesPoint TokenData VolumeCreateOptions VolumeInfo "
        "VolumeMountInfo WorkspaceBillingSummary WorkspaceMemberInfo WorkspaceSettings"
    ),
    "App": _names("get_dashboard_url logs sandboxes server stats"),
    "Cls": _names("client get_dashboard_url"),
    "Function": _names("client get_dashboard_url logs metrics"),
    "Dict": _names("client get_dashboard_url"),
    "FunctionCall": _names("client get_dashboard_url logs"),
    "Image": _names(
        "client from_aws_ecr from_dockerfile from_gcp_artifact_registry from_id from_name from_registry "
        "from_scratch get_dashboard_url hydrate logs micromamba micromamba_install pip_install_private_repos "
        "publish"
    ),
    "Secret": _names("client create_deployed from_name get_dashboard_url info lookup objects update"),
    "Queue": _names("client get_dashboard_url"),
}
"""Names of Modal's that Modicum is to have. What has come is taken out here; a test finds what was forgotten."""

GONE: dict[str, dict[str, str]] = {
    "modal": {
        "Mount": "local files are part of the image: add_local_dir(…), add_local_file(…), add_local_python_source(…)",
        "SharedVolume": "it is now modal.Volume, which is not in Modicum yet",
        "build": "run it as a step of the image, Image.run_function(…)",
        "container_app": "a function's own app is the global variable that it was decorated with",
        "create_package_mounts": "use image.add_local_python_source(…)",
        "file_io": "it is now Sandbox.filesystem, which is not in Modicum yet",
    },
    "App": {
        "asgi": "it is now @modal.asgi_app(), which is not in Modicum yet",
        "is_inside": "use modal.is_local(), or `with image.imports():` for packages that only the image has",
        "spawn_sandbox": "it is now Sandbox.create(app=…), which is not in Modicum yet",
        "webhook": "it is now @modal.fastapi_endpoint(), which is not in Modicum yet",
        "wsgi": "it is now @modal.wsgi_app(), which is not in Modicum yet",
    },
    "Cls": {},
    "Dict": {
        "new": "use Dict.ephemeral() or Dict.from_name(…, create_if_missing=True)",
        "persisted": "use Dict.from_name(…, create_if_missing=True)",
    },
    "Function": {
        "call": "use .remote(…) to run it in a container, .local(…) to run it right here",
    },
    "FunctionCall": {"get_gen": "generators are not spawned; use Function.remote_gen(…)"},
    "Image": {
        "run_inside": "use `with image.imports():`",
        "extend": "use Image.dockerfile_commands(…)",
    },
    "Queue": {
        "new": "use Queue.ephemeral() or Queue.from_name(…, create_if_missing=True)",
        "persisted": "use Queue.from_name(…, create_if_missing=True)",
    },
}
"""Names of earlier years that cannot be kept, and what to do instead."""


def missing(owner: str, name: str, known: Iterable[str]) -> AttributeError:
    """Return the error for a name that `owner` ("modal" or a class) does not have."""
    if name.startswith("_"):
        return AttributeError(f"{owner!r} has no attribute {name!r}")
    told = explanation(owner, name)
    if told is None:
        from modicum._old_names import nearest

        told = f"{_qualified(owner)!r} has no attribute {name!r}{nearest(name, known)}"
    return AttributeError(told)


def from_module(owner: str, name: str, known: Iterable[str]) -> AttributeError | ImportError:
    """Return the error for a name that the package, our caller's caller, does not have.

    `from modal import Volume` puts a text of its own in place of an `AttributeError`'s: there it is an `ImportError`.
    """
    import sys

    told = explanation(owner, name)
    if told is not None and sys._getframe(3).f_code.co_name == "_handle_fromlist":
        return ImportError(told, name=owner)
    return missing(owner, name, known)


def explanation(owner: str, name: str) -> str | None:
    """Return what there is to say of a name of Modal's, None for one that is none."""
    if name in NOT_YET.get(owner, ()):
        return f"{_qualified(owner)}.{name} is not in Modicum yet"
    hint = GONE.get(owner, {}).get(name)
    if hint is None:
        return None
    return f"{_qualified(owner)}.{name} is gone: {hint}"


def _qualified(owner: str) -> str:
    return owner if owner.startswith("modal") else f"modal.{owner}"


if TYPE_CHECKING:

    class Explained:
        """The base of classes that explain names which they lack; a type checker sees that they lack them."""

else:

    class _Explaining(type):
        def __getattr__(cls, name):
            raise missing(cls.__name__, name, dir(cls))

    class Explained(metaclass=_Explaining):
        """The base of classes that explain names which they lack, on the class and on its instances."""

        __slots__ = ()

        def __getattr__(self, name):
            raise missing(type(self).__name__, name, dir(type(self)))


class _Absent:
    """Stands on a class for a name that it lacks."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> object:
        raise missing(owner.__name__, self._name, ())


def explained(kind: type[_T]) -> type[_T]:
    """Decorate a class that explains names which it lacks, but no other names.

    For classes whose attributes are read in every call: `__getattr__` makes the reading of all of them slower.
    """
    for name in (*NOT_YET[kind.__name__], *GONE[kind.__name__]):
        setattr(kind, name, _Absent(name))
    return kind
