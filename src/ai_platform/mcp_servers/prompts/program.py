"""Command line of the prompt library."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mcp.server.lowlevel import Server

from ai_platform.mcp_servers.prompts.git import GitRepository
from ai_platform.mcp_servers.prompts.github import GitHub
from ai_platform.mcp_servers.prompts.github_files import GitHubFiles
from ai_platform.mcp_servers.prompts.library import Library
from ai_platform.mcp_servers.prompts.material import Changes, Files
from ai_platform.mcp_servers.prompts.server import NAMES, Prompts
from ai_platform.mcp_servers.serving import Closing, add_options, read_options, run, secret_from


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until the client leaves or a signal. Raises ConfigError."""
    parser = argparse.ArgumentParser(
        prog="python -m ai_platform.mcp_servers.prompts",
        description="Prompts for reviews, audits and assessments, filled from git or GitHub, and your own.",
    )
    add = parser.add_argument
    add("--repository", type=Path, metavar="PATH", help="a local git repository")
    add("--base", metavar="BRANCH", default="", help="the branch changes go into; found by itself when not given")
    add(
        "--github",
        metavar="OWNER/NAME",
        help="take pull requests from GitHub, and files when there is no --repository",
    )
    add("--github-api", metavar="URL", default="https://api.github.com", help="another GitHub server's API")
    add("--github-token-env", metavar="NAME", default="", help="variable with a token that may read this repository")
    add("--prompts", type=Path, metavar="FOLDER", help="your own prompts: Markdown and YAML files")
    add_options(parser)
    options = parser.parse_args(arguments)
    serving = read_options(options)
    repository = GitRepository(options.repository.resolve(), options.base) if options.repository else None
    changes: Changes | None = repository
    files: Files | None = repository
    if options.github:
        token = secret_from(options.github_token_env) if options.github_token_env else ""
        github = GitHub(options.github, api=options.github_api, token=token)
        changes, files = github, repository or GitHubFiles(github)
    prompts = Prompts(changes, files, Library(options.prompts, NAMES))

    async def prepare() -> tuple[Server[Any], Closing]:
        return prompts.server(), prompts.close

    return run(serving, prepare)
