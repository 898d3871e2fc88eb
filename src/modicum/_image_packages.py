"""How Python packages get into an image: the methods of `Image` for pip, uv and Poetry."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from modicum.image import Env, Image, Resolution, Resolve, Step


class Packages:
    """What `Image` inherits."""

    __slots__ = ()

    if TYPE_CHECKING:

        def _then(self, *steps: Step) -> Image: ...
        def _then_resolved(self, resolve: Resolve) -> Image: ...

    def pip_install(
        self,
        *packages: str | list[str],
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: Env | None = None,
        secrets: Collection[object] | None = None,
        gpu: str | None = None,
    ) -> Image:
        """Install Python packages with pip.

        `packages` are requirements, singly or in lists. `find_links`, `index_url`, `extra_index_url` and `pre` are
        pip's options, `extra_options` is appended to its command line.
        """
        from modicum import _image_steps as made

        names = made.packages("pip_install", packages)
        options = made.index_options(find_links, index_url, extra_index_url, pre, extra_options)
        common = made.common("pip_install", force_build, env, secrets=secrets, gpu=gpu)
        return self._then({"op": "pip_install", "packages": names, **options, **common}) if names else self._then()

    def pip_install_from_requirements(
        self,
        requirements_txt: str,
        find_links: str | None = None,
        *,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: Env | None = None,
        secrets: Collection[object] | None = None,
        gpu: str | None = None,
    ) -> Image:
        """Install what a local requirements file lists; all else is as in `pip_install`."""
        from modicum import _image_steps as made

        options = made.index_options(find_links, index_url, extra_index_url, pre, extra_options)
        common = made.common("pip_install_from_requirements", force_build, env, secrets=secrets, gpu=gpu)
        return self._then_resolved(
            lambda _: [
                {
                    "op": "pip_install",
                    "packages": [],
                    "requirements": [made.read_text(requirements_txt)],
                    **options,
                    **common,
                }
            ]
        )

    def pip_install_from_pyproject(
        self,
        pyproject_toml: str,
        optional_dependencies: list[str] | None = None,
        *,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: Env | None = None,
        secrets: Collection[object] | None = None,
        gpu: str | None = None,
    ) -> Image:
        """Install what `[project]` of a local pyproject.toml depends on; all else is as in `pip_install`.

        `optional_dependencies` are keys of its optional dependencies that are installed too.
        """
        from modicum import _image_steps as made

        options = made.index_options(find_links, index_url, extra_index_url, pre, extra_options)
        common = made.common("pip_install_from_pyproject", force_build, env, secrets=secrets, gpu=gpu)
        extras = made.strings("pip_install_from_pyproject", "optional_dependencies", optional_dependencies)

        def resolve(_: Resolution) -> list[Step]:
            names = made.project_dependencies(pyproject_toml, extras)
            return [{"op": "pip_install", "packages": names, **options, **common}] if names else []

        return self._then_resolved(resolve)

    def uv_pip_install(
        self,
        *packages: str | list[str],
        requirements: list[str] | None = None,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        uv_version: str | None = None,
        env: Env | None = None,
        secrets: Collection[object] | None = None,
        gpu: str | None = None,
    ) -> Image:
        """Install Python packages with uv, which is several times faster than pip.

        `requirements` are paths of local requirements files. `uv_version` runs that release of uv instead of the
        node's. All else is as in `pip_install`, with uv's meaning.
        """
        from modicum import _image_steps as made

        names = made.packages("uv_pip_install", packages)
        files = made.strings("uv_pip_install", "requirements", requirements)
        step = {
            **made.index_options(find_links, index_url, extra_index_url, pre, extra_options),
            **made.version_of("uv_version", uv_version),
            **made.common("uv_pip_install", force_build, env, secrets=secrets, gpu=gpu),
        }

        def resolve(_: Resolution) -> list[Step]:
            read = {"requirements": [made.read_text(path) for path in files]} if files else {}
            return [{"op": "uv_pip_install", "packages": names, **read, **step}]

        return self._then_resolved(resolve) if names or files else self._then()

    def uv_sync(
        self,
        uv_project_dir: str = "./",
        *,
        force_build: bool = False,
        groups: list[str] | None = None,
        extras: list[str] | None = None,
        frozen: bool = True,
        extra_options: str = "",
        uv_version: str | None = None,
        env: Env | None = None,
        secrets: Collection[object] | None = None,
        gpu: str | None = None,
    ) -> Image:
        """Make a virtual environment, which later steps and functions run in, with the dependencies of a uv project.

        `uv_project_dir` holds its pyproject.toml and uv.lock; with `frozen` the lock is taken as it is. `groups` and
        `extras` are installed too, the project itself is not.
        """
        from modicum import _image_steps as made

        made.check_words("extra_options", extra_options)
        step = {
            **made.listed("uv_sync", groups=groups, extras=extras),
            **({"extra_options": extra_options} if extra_options else {}),
            **made.version_of("uv_version", uv_version),
            **made.common("uv_sync", force_build, env, secrets=secrets, gpu=gpu),
        }
        return self._then_resolved(lambda so_far: made.uv_sync(uv_project_dir, frozen, step, so_far.uploads))

    def poetry_install_from_file(
        self,
        poetry_pyproject_toml: str,
        poetry_lockfile: str | None = None,
        *,
        ignore_lockfile: bool = False,
        force_build: bool = False,
        with_: list[str] | None = None,
        without: list[str] | None = None,
        only: list[str] | None = None,
        poetry_version: str | None = "latest",
        old_installer: bool = False,
        env: Env | None = None,
        secrets: Collection[object] | None = None,
        gpu: str | None = None,
    ) -> Image:
        """Install the dependencies of a Poetry project, not the project itself.

        The lock file is the one beside the pyproject.toml unless named; it must exist unless `ignore_lockfile`.
        `with_`, `without` and `only` are groups. `poetry_version` None uses the Poetry that the image has.
        """
        from modicum import _image_steps as made

        step = {
            **made.listed("poetry_install_from_file", with_=with_, without=without, only=only),
            **made.version_of("poetry_version", poetry_version),
            **({"old_installer": True} if old_installer else {}),
            **made.common("poetry_install_from_file", force_build, env, secrets=secrets, gpu=gpu),
        }

        def resolve(so_far: Resolution) -> list[Step]:
            return made.poetry_install(poetry_pyproject_toml, poetry_lockfile, ignore_lockfile, step, so_far.uploads)

        return self._then_resolved(resolve)
