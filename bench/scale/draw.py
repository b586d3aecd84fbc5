"""Draws the cost curves as one SVG. Each chart has the number of events on a logarithmic axis."""

import math

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 320, 210, 58, 34, 12, 30
INK, QUIET, LINES = "#1f2933", "#7b8794", ("#1f6feb", "#c2410c")

# The title, the unit and the lines of each chart. A line has a name, and a function that returns its value at a
# stage.
CHARTS = [
    ("Append, 64 in flight", "events/s", [("", lambda stage: stage["append_per_s"])]),
    ("Cold profile rebuilt, 10 events or more", "profiles/s", [("", lambda stage: stage["cold_rebuild_per_s"])]),
    ("CheckGrant, 64 in flight", "calls/s", [("", lambda stage: stage["check_per_s"])]),
    ("Memory of the daemon", "MiB", [
        ("peak under load", lambda stage: stage["peak_rss_bytes"] / (1 << 20)),
        ("just started", lambda stage: stage["rss_started_bytes"] / (1 << 20)),
    ]),
    ("Disk", "bytes per event", [
        ("total", lambda stage: stage["disk"]["all"] / stage["events"]),
        ("entries", lambda stage: stage["entry_bytes"] / stage["events"]),
    ]),
    ("Start-up", "seconds", [
        ("after kill -9", lambda stage: stage["start_killed_s"]),
        ("after a clean stop", lambda stage: stage["start_clean_s"]),
    ]),
]


def nice(top):
    """Returns the smallest round number that is at least `top`."""
    step = 10 ** math.floor(math.log10(top)) if top > 0 else 1
    return next(step * factor for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * factor >= top)


def chart(title, unit, lines, stages, x0, y0):
    xs = [math.log10(stage["events"]) for stage in stages]
    low, high = math.floor(min(xs)), math.ceil(max(xs))
    top = nice(max(show(stage) for _, show in lines for stage in stages))
    x = lambda value: x0 + LEFT + (value - low) / max(high - low, 1) * (WIDTH - LEFT - RIGHT)
    y = lambda value: y0 + HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)
    out = [f'<text x="{x0 + LEFT}" y="{y0 + 14}" fill="{INK}" font-weight="600">{title}</text>']
    out.append(f'<text x="{x0 + LEFT}" y="{y0 + 27}" fill="{QUIET}">{unit}</text>')
    for part in range(3):
        value = top * part / 2
        out.append(f'<line x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#e4e7eb"/>')
        out.append(f'<text x="{x(low) - 6:.1f}" y="{y(value) + 4:.1f}" fill="{QUIET}" text-anchor="end">{value:,.10g}</text>')
    for power in range(low, high + 1):
        label = f'10<tspan dy="-4" font-size="8">{power}</tspan>'
        out.append(f'<text x="{x(power):.1f}" y="{y(0) + 16:.1f}" fill="{QUIET}" text-anchor="middle">{label}</text>')
    for number, (name, show) in enumerate(lines):
        points = [(x(at), y(show(stage))) for at, stage in zip(xs, stages)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{LINES[number]}" stroke-width="2"/>')
        out += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{LINES[number]}"/>' for px, py in points]
        right = x0 + WIDTH - RIGHT
        out.append(f'<text x="{right}" y="{y0 + 14 + 13 * number}" fill="{LINES[number]}" text-anchor="end">{name}</text>')
    return out


def curves(stages):
    """Returns the SVG of all charts."""
    columns = 3
    rows = -(-len(CHARTS) // columns)
    size = (columns * WIDTH + 20, rows * (HEIGHT + 16) + 10)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" font-family="system-ui, sans-serif" font-size="11">',
        "<title>The cost of a ledger by its number of events</title>",
        f'<rect width="{size[0]}" height="{size[1]}" fill="#ffffff"/>',
    ]
    for number, (title, unit, lines) in enumerate(CHARTS):
        out += chart(title, unit, lines, stages, 5 + number % columns * WIDTH, 8 + number // columns * (HEIGHT + 16))
    return "\n".join(out + ["</svg>", ""])
