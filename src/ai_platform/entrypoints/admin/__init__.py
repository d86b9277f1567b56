"""The admin API under /admin/: one file a room, each offering `endpoints(...)`; every endpoint names its permission."""

from ai_platform.entrypoints.admin.endpoint import AdminRequest, Endpoint

__all__ = ["AdminRequest", "Endpoint"]
