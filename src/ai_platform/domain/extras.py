"""Packages that come with an extra of this distribution, and may not be installed."""


def only_missing(error: ImportError, *packages: str) -> None:
    """Raise `error` again unless it says that one of these packages is not installed: any other failure to import is a
    defect, or a version that does not fit, and must not look like a feature that nobody asked for.
    """
    if not isinstance(error, ModuleNotFoundError) or error.name not in packages:
        raise error
