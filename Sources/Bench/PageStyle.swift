extension ReportPage {
    /// Colours by the scheme that the reader has chosen; nothing is fetched.
    static let style = """
        :root { color-scheme: light dark; --back: #fcfbf9; --ink: #1c1d20; --soft: #62656d; --rule: #e2dfd8; --card: #fff;
          --good: #10684d; --bad: #b3261e;
          --s0: #1f6fb5; --s1: #c4511a; --s2: #7b4fb8; --s3: #14806a; --s4: #9a7b0a; --s5: #b03a72; --peer: #b9bcc4; }
        @media (prefers-color-scheme: dark) {
          :root { --back: #14161a; --ink: #e8e6e1; --soft: #a0a4ad; --rule: #2d3138; --card: #1b1e24;
            --good: #64c9a5; --bad: #f2a09a;
            --s0: #64a8e8; --s1: #f0905c; --s2: #b693ea; --s3: #50c2a5; --s4: #d9b943; --s5: #e78bb5; --peer: #565b65; } }
        * { box-sizing: border-box }
        html { -webkit-text-size-adjust: 100% }
        body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 74rem; background: var(--back); color: var(--ink);
          font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif }
        h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .35rem; letter-spacing: -.01em }
        h2 { font-size: 1.3rem; margin: 3rem 0 .3rem }
        h3 { font-size: 1.05rem; margin: 2.4rem 0 .6rem; padding-bottom: .35rem; border-bottom: 1px solid var(--rule) }
        p { margin: .4rem 0; max-width: 46rem }
        .soft, small, figcaption small { color: var(--soft) }
        .advice { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 1.1rem 1.3rem;
          margin: 1.2rem 0 }
        .advice h3 { border: 0; margin: 0 0 .3rem; padding: 0; font-size: 1.25rem }
        .advice h4 { margin: 1rem 0 .2rem; font-size: .95rem }
        .advice ul { margin: .2rem 0; padding-left: 1.2rem } .advice li { margin: .15rem 0; max-width: 54rem }
        .legend { display: flex; flex-wrap: wrap; gap: .3rem 1.3rem; padding: 0; margin: 1rem 0 0; list-style: none;
          font-size: .92rem }
        .legend svg { width: 26px; height: 14px; vertical-align: -2px; margin-right: .3rem }
        .plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1.4rem 2rem }
        figure { margin: 0; min-width: 0 } figcaption { font-weight: 600; font-size: .95rem; margin-bottom: .35rem }
        figcaption small { font-weight: 400; margin-left: .35rem; white-space: nowrap }
        svg { display: block; width: 100%; height: auto; max-width: 27rem; overflow: visible } .legend svg { display: inline }
        svg text { font-size: 12px; fill: var(--ink); font-variant-numeric: tabular-nums } svg .best { font-weight: 700 }
        svg .tick { fill: var(--soft); font-size: 11px } svg .grid { stroke: var(--rule); fill: none }
        svg rect, svg .mark { fill: var(--c) } svg .line { stroke: var(--c); stroke-width: 2; fill: none }
        svg .spread { stroke: var(--ink); stroke-opacity: .55; stroke-width: 1.2; fill: none }
        .s0 { --c: var(--s0) } .s1 { --c: var(--s1) } .s2 { --c: var(--s2) } .s3 { --c: var(--s3) } .s4 { --c: var(--s4) }
        .s5 { --c: var(--s5) } .peer { --c: var(--peer) } .p0 .line { stroke-dasharray: 6 3 } .p1 .line { stroke-dasharray: 2 3 }
        .p2 .line { stroke-dasharray: 9 3 2 3 } .p3 .line { stroke-dasharray: 1 4 }
        .peer rect, .peer .mark { stroke: var(--soft); stroke-width: 1 } svg .peer text { fill: var(--soft) }
        .floor rect, .floor .mark { fill: none; stroke: var(--ink); stroke-dasharray: 2 2 } .floor { --c: var(--ink) }
        .wide { overflow-x: auto; margin: .5rem 0 } table { border-collapse: collapse; font-size: .88rem; width: 100% }
        th, td { text-align: right; padding: .3rem .7rem; border-bottom: 1px solid var(--rule); white-space: nowrap;
          font-variant-numeric: tabular-nums } th { font-weight: 600; vertical-align: bottom }
        th:first-child, td:first-child { text-align: left; padding-left: 0 } td.text { text-align: left; white-space: normal }
        td.best { font-weight: 700 } td small { display: block; font-weight: 400 } .good { color: var(--good) } .bad { color: var(--bad) }
        details { margin: 1rem 0; border-top: 1px solid var(--rule); padding-top: .7rem } summary { cursor: pointer;
          font-weight: 600 }
        @media (max-width: 30rem) { body { padding: 1.2rem 1rem 3rem } h1 { font-size: 1.45rem } .advice { padding: .9rem 1rem }
          th, td { padding: .3rem .45rem } }
        @media print { details > * { display: block } }
        """
}
