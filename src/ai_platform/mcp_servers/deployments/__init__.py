"""Deployments by tool call: deploy, roll back, status and abort for the services and environments of one YAML file.

Commands are lists of arguments, never a shell's text; every attempt is audited before it runs. Below: documents,
domain.
"""
