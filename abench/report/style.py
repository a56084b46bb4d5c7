"""The style sheet of the HTML report, in light and dark colors."""

LIGHT = (
    "--paper: #fff; --ink: #16202c; --quiet: #5b6673; --lines: #e3e7ec; --card: #f6f8fa; "
    "--first: #0b62c4; --second: #b45309; --third: #7c3aed; --bad: #b91c1c; --good: #15803d"
)
DARK = (
    "--paper: #12171e; --ink: #e6ebf1; --quiet: #9aa7b5; --lines: #2b333d; --card: #1a212a; "
    "--first: #6cb1ff; --second: #f0a95b; --third: #b99bff; --bad: #ff8b81; --good: #6fd18b"
)

# JupyterLab says by an attribute whether its theme is light; others follow the reader's choice.
_COLORS = f"""
.abench {{ {LIGHT} }}
@media (prefers-color-scheme: dark) {{ .abench {{ {DARK} }} }}
[data-jp-theme-light="true"] .abench {{ {LIGHT} }}
[data-jp-theme-light="false"] .abench {{ {DARK} }}
"""

# Every rule is within .abench: in a notebook, a style sheet applies to the whole page.
_RULES = """\
.abench * { box-sizing: border-box }
.abench { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 3rem; background: var(--paper);
       color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
.abench h1 { font-size: 1.3rem; margin: 0; overflow-wrap: anywhere }
.abench h2 { font-size: 1rem; margin: 0 }
.abench p { margin: .3rem 0 }
.abench p, .abench li, .abench dt { overflow-wrap: anywhere }
.abench .quiet { color: var(--quiet) }
.abench .verdict { border-left: .3rem solid var(--first); background: var(--card);
  padding: .7rem 1rem;
           margin: 1rem 0; border-radius: .2rem }
.abench .verdict.bad { border-color: var(--bad) }
.abench .verdict ul { margin: .4rem 0 0; padding-left: 1.1rem; color: var(--quiet);
  font-size: .9rem }
.abench .verdict .advice { color: inherit }
.abench .figures { display: grid; gap: .7rem; margin-top: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)) }
.abench .figure { background: var(--card); border-radius: .4rem;
  padding: .6rem .9rem }
.abench .figure .quiet { white-space: nowrap }
.abench .figure b { display: block; font-size: 1.3rem; white-space: nowrap;
            font-variant-numeric: tabular-nums }
.abench .plots { display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr));
         gap: 1.6rem 2rem; margin: 1.6rem 0 }
.abench.notebook .plots { grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)) }
.abench figure { margin: 0; min-width: 0 }
.abench figure svg { width: 100%; height: auto; display: block }
.abench .narrow { display: none }
@media (max-width: 30rem) {
  .abench .narrow { display: block }
  .abench .broad { display: none }
}
.abench table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
.abench section { margin: 1.2rem 0 }
.abench .plots section { margin: 0 }
.abench .wide { overflow-x: auto }
.abench th, .abench td { text-align: right; padding: .3rem .7rem;
  border-bottom: 1px solid var(--lines);
         white-space: nowrap }
.abench th { color: var(--quiet); font-weight: 500 }
.abench th:first-child { text-align: left }
.abench .numbers th:first-child { text-align: right }
.abench .wide th:first-child { position: sticky; left: 0; background: var(--paper) }
.abench .parts th:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 11rem;
  max-width: 28rem }
.abench .parts td.outcomes { text-align: left; white-space: normal; min-width: 9rem }
.abench details { margin: 1rem 0 }
.abench dl { display: grid; grid-template-columns: fit-content(40%) 1fr; gap: .2rem 1.2rem;
     font-size: .9rem }
.abench dt { color: var(--quiet) }
.abench dd { margin: 0; overflow-wrap: anywhere }
.abench .failed { color: var(--bad) }
.abench .passed { color: var(--good) }
.abench .remark { color: var(--second) }
"""

# Paper is white, whatever the screen is, and no plot is cut in two.
_PRINT = f"""
@media print {{
  .abench {{ {LIGHT}; max-width: none; padding: 0 }}
  .abench figure, .abench section, .abench .verdict {{ break-inside: avoid }}
}}
"""

STYLE = _COLORS + _RULES + _PRINT
