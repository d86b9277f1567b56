"""`ai-platform` as a script, so that a profiler can run it."""

from ai_platform.cli import main

if __name__ == "__main__":
    main()
