"""A simulated /opt/zimbra: site.json, the tools in bin, and three logs in the layout that Zimbra's log4j writes."""

import gzip
import sys
from pathlib import Path

from ai_platform.simulator.zimbra import tools
from ai_platform.simulator.zimbra.site import SimulatedSite, save

_TOOL = """\
#!{python}
import runpy, sys
from pathlib import Path
main = runpy.run_path({tools!r})["main"]
sys.exit(main(Path({home!r}), [{name!r}, *sys.argv[1:]]))
"""
_MAILBOX = """\
2026-11-22 08:00:00,101 INFO  [main] [] soap - simulated Zimbra: these lines are made up
2026-11-22 08:00:05,220 INFO  [qtp1-20] [name=ada@simulated.example;mid=1;ip=192.0.2.7;] mailbox - delivered message
2026-11-22 08:00:09,412 WARN  [qtp1-21] [name=grace@simulated.example;mid=2;] mailop - quota warning: 95 % used
2026-11-22 08:00:12,907 ERROR [qtp1-22] [name=full@simulated.example;mid=3;ip=192.0.2.9;] lmtp - delivery failed
com.zimbra.cs.mailbox.MailServiceException: mailbox exceeded quota
ExceptionId:qtp1-22:1732262412907:0123456789abcdef
Code:mail.QUOTA_EXCEEDED
	at com.zimbra.cs.mailbox.Mailbox.checkSizeChange(Mailbox.java:1234)
	at com.zimbra.cs.lmtpserver.ZimbraLmtpBackend.deliver(ZimbraLmtpBackend.java:567)
2026-11-22 08:00:15,003 INFO  [qtp1-23] [] index - no error happened here
2026-11-22 08:00:18,377 FATAL [qtp1-24] [] system - out of memory
"""
_AUDIT = """\
2026-11-22 08:01:00,001 INFO  [qtp1-30] [name=ada@simulated.example;ip=192.0.2.7;] security - cmd=Auth; protocol=soap;
2026-11-22 08:01:02,502 WARN  [qtp1-31] [ip=203.0.113.5;port=4711;] security - cmd=Auth; \
account=locked@branch.simulated.example; protocol=imap; error=authentication failed, invalid password;
"""
_SYNC = "2026-11-22 08:02:00,000 INFO  [qtp1-40] [name=ada@simulated.example;device=simulated;] sync - Ping\n"
_YESTERDAY = "2026-11-21 23:59:59,999 ERROR [qtp1-10] [] backup - yesterday's simulated failure\n"


def furnish(home: Path, site: SimulatedSite) -> None:
    """Write all of it into a folder, which is made when it is not there."""
    for name in ("bin", "log"):
        (home / name).mkdir(parents=True, exist_ok=True)
    save(site, home / "site.json")
    for name in ("zmprov", "zmcontrol", "zmhostname"):
        path = home / "bin" / name
        path.write_text(_TOOL.format(python=sys.executable, tools=tools.__file__, home=str(home), name=name))
        path.chmod(0o755)
    for name, text in (("mailbox.log", _MAILBOX), ("audit.log", _AUDIT), ("sync.log", _SYNC)):
        (home / "log" / name).write_text(text, encoding="utf-8")
    (home / "log" / "mailbox.log.2026-11-21.gz").write_bytes(gzip.compress(_YESTERDAY.encode(), mtime=0))
