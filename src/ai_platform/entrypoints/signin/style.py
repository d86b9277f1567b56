"""How the pages of sign-in look: one column, light and dark, without scripts, pictures or fonts from elsewhere.

Text and controls keep a contrast of at least 4.5:1 in both schemes (WCAG 2.2, 1.4.3) and show where the focus is.
"""

STYLE = """
:root{color-scheme:light dark;--paper:#f6f5f2;--card:#fff;--ink:#1d1d1f;--soft:#5c5c62;--line:#d9d7d0;--deep:#0b5cad;
--on-deep:#fff;--warn:#8a3b00;--warn-paper:#fff4e8;font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
@media (prefers-color-scheme:dark){:root{--paper:#131416;--card:#1d1f22;--ink:#ececee;--soft:#a6a8ad;--line:#3a3d42;
--deep:#8fc1ff;--on-deep:#0a1a2b;--warn:#ffb877;--warn-paper:#33230f}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);min-height:100vh;display:grid;place-items:start center;
padding:clamp(1rem,6vh,5rem) 1rem}
main{width:100%;max-width:27rem;background:var(--card);border:1px solid var(--line);border-radius:1rem;
padding:clamp(1.25rem,5vw,2.25rem);overflow-wrap:anywhere}
.brand{margin:0 0 1.25rem;color:var(--soft);font-size:.85rem;letter-spacing:.02em}
h1{font-size:1.4rem;line-height:1.25;margin:0 0 1rem}h2{font-size:1rem;margin:1.5rem 0 .5rem}
p{margin:0 0 1rem}a{color:var(--deep)}.soft{color:var(--soft);font-size:.9rem}
button,.button{font:inherit;font-weight:600;display:block;width:100%;text-align:center;text-decoration:none;
padding:.7rem 1rem;margin:0 0 .6rem;border-radius:.6rem;border:1px solid var(--line);background:transparent;
color:var(--ink);cursor:pointer}
.main{background:var(--deep);border-color:var(--deep);color:var(--on-deep)}
button:hover,.button:hover{border-color:var(--deep)}.main:hover{filter:brightness(1.08)}
:focus-visible{outline:3px solid var(--deep);outline-offset:2px}
.choice{text-align:left}.choice small{display:block;font-weight:400;color:var(--soft)}
label{display:block;font-weight:600;margin:0 0 .3rem}
input:not([type=hidden]){font:inherit;width:100%;padding:.6rem .75rem;margin:0 0 1rem;border-radius:.6rem;
border:1px solid var(--soft);background:var(--paper);color:var(--ink)}
.code{letter-spacing:.2em;text-transform:uppercase}
.warn{border-left:4px solid var(--warn);background:var(--warn-paper);border-radius:.4rem;padding:.7rem .9rem}
dl{margin:0 0 1.25rem}dt{color:var(--soft);font-size:.85rem}dd{margin:0 0 .6rem}
code{font:600 1.05em ui-monospace,Menlo,Consolas,monospace;letter-spacing:.06em}
hr{border:0;border-top:1px solid var(--line);margin:1.5rem 0}
ul{margin:0 0 1rem;padding-left:1.2rem}
"""

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width,initial-scale=1">{head}<style>{style}</style></head>
<body><main><p class="brand">ai-platform</p><h1>{title}</h1>{body}</main></body></html>"""
