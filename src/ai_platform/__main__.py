"""`python -m ai_platform` is the `ai-platform` command."""

from ai_platform.cli import main

main()
