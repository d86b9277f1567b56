"""Prompt library: code_review, security_audit and refactor_assessment, filled from git or GitHub, and the
organisation's own prompts from files, with arguments and completion. Below: documents, domain.
"""
