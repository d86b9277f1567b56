"""Zimbra for administrators, read only: mailboxes, domains, quotas, health, logs.

Over the SOAP admin API, or by the command-line tools on the host itself. Tried against the simulated Zimbra
(`ai_platform.simulator.zimbra`), not against a live one. Below: domain.
"""
