//! Charts as SVG, drawn by plotters. Its SVG backend alone needs no fonts, no files and no other crates, and escapes text.
//!
//! Colours are drawn as fixed values that the style sheet of the page maps to its own, so that a chart follows the
//! reader's light or dark setting without a script.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{
    escape::visible,
    words::{count, duration, percent, shortened, usd},
};
use crate::tools::{Bucket, Day, Share};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// What the style sheet knows by these values.
const INK: RGBColor = RGBColor(0x11, 0x11, 0x11);
const FAINT: RGBColor = RGBColor(0x77, 0x77, 0x77);
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);
const BAR: RGBColor = RGBColor(0x2F, 0x6F, 0xDE);
const ALERT: RGBColor = RGBColor(0xD9, 0x53, 0x2C);
const USUAL: RGBColor = RGBColor(0x8A, 0x8A, 0x8A);

const WIDTH: i32 = 960;
const NAMES: i32 = 200;
const ROW: i32 = 34;
/// The most bars across or down.
const MOST: usize = 12;

/// Spend per day: columns, those out of line in another colour, and a line for what is usual.
pub(super) fn days(days: &[Day]) -> String {
    const HEIGHT: i32 = 300;
    const LEFT: i32 = 64;
    const FOOT: i32 = 34;
    let step = f64::from(WIDTH - LEFT) / days.len().max(1) as f64;
    let x = |n: usize| LEFT + (n as f64 * step) as i32;
    let scale = Scale::up_to(days.iter().map(|day| day.cost).fold(0.0, f64::max), 10, HEIGHT - FOOT);
    draw(HEIGHT, |area| {
        scale.grid(area, LEFT)?;
        let gap = (step * 0.16).min(4.0) as i32;
        for (n, day) in days.iter().enumerate() {
            let colour = if day.anomaly { ALERT } else { BAR };
            bar(area, (x(n) + gap, scale.y(day.cost)), ((x(n + 1) - gap).max(x(n) + gap + 1), HEIGHT - FOOT), colour)?;
        }
        let usual = days.iter().enumerate().flat_map(|(n, day)| [x(n), x(n + 1)].map(|x| (x, scale.y(day.usual))));
        area.draw(&PathElement::new(usual.collect::<Vec<_>>(), USUAL.stroke_width(2)))?;
        let every = days.len().div_ceil(10).max(1);
        for (n, day) in days.iter().enumerate().step_by(every) {
            label(
                area,
                day.day.get(5..).unwrap_or(&day.day),
                ((x(n) + x(n + 1)) / 2, HEIGHT - FOOT + 8),
                (HPos::Center, VPos::Top),
                FAINT,
            )?;
        }
        Ok(())
    })
}

/// Shares of the total: a bar for each name.
pub(super) fn shares(shares: &[Share], total: f64) -> String {
    let most = shares.iter().map(|share| share.cost).fold(f64::MIN_POSITIVE, f64::max);
    let rest = shares.len().saturating_sub(MOST);
    let rows = i32::try_from(shares.len().min(MOST) + usize::from(rest > 0)).unwrap_or(0);
    draw(rows * ROW + 4, |area| {
        let mut y = 2;
        for share in shares.iter().take(MOST) {
            let length = (share.cost / most * f64::from(WIDTH - NAMES - 190)) as i32;
            label(area, &shortened(&share.name, 26), (NAMES - 12, y + ROW / 2), (HPos::Right, VPos::Center), INK)?;
            bar(area, (NAMES, y + 6), (NAMES + length.max(2), y + ROW - 6), BAR)?;
            let words = format!("{}  ({})", usd(share.cost), percent(share.cost, total));
            label(area, &words, (NAMES + length + 12, y + ROW / 2), (HPos::Left, VPos::Center), FAINT)?;
            y += ROW;
        }
        if rest > 0 {
            label(area, &format!("and {rest} more"), (NAMES - 12, y + ROW / 2), (HPos::Right, VPos::Center), FAINT)?;
        }
        Ok(())
    })
}

/// How many calls took how long.
pub(super) fn latency(buckets: &[Bucket]) -> String {
    const HEIGHT: i32 = 260;
    const FOOT: i32 = 34;
    const HEAD: i32 = 26;
    let width = WIDTH / i32::try_from(buckets.len().max(1)).unwrap_or(WIDTH);
    let most = buckets.iter().map(|bucket| bucket.calls).max().unwrap_or(1).max(1);
    draw(HEIGHT, |area| {
        let floor = HEIGHT - FOOT;
        area.draw(&PathElement::new([(0, floor), (WIDTH, floor)], GRID))?;
        let (mut x, mut from) = (0, 0);
        for bucket in buckets {
            let height = (bucket.calls as f64 / most as f64 * f64::from(floor - HEAD)) as i32;
            let (middle, top) = (x + width / 2, floor - height);
            if bucket.calls > 0 {
                bar(area, (x + 8, top.min(floor - 1)), (x + width - 8, floor), BAR)?;
            }
            label(area, &count(bucket.calls), (middle, top - 6), (HPos::Center, VPos::Bottom), INK)?;
            label(area, &range(from, bucket.below_ms), (middle, floor + 8), (HPos::Center, VPos::Top), FAINT)?;
            from = bucket.below_ms.unwrap_or(from);
            x += width;
        }
        Ok(())
    })
}

fn range(from: i64, below: Option<i64>) -> String {
    let short = |ms| duration(ms).replace(".0 s", " s");
    below.map_or_else(|| format!("≥ {}", short(from)), |below| format!("< {}", short(below)))
}

/// Round steps for an axis, as few as say enough.
struct Scale {
    most: f64,
    step: f64,
    head: i32,
    floor: i32,
}

impl Scale {
    fn up_to(most: f64, head: i32, floor: i32) -> Self {
        let rough = (most / 4.0).max(1e-6);
        let power = 10_f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 2.5, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| *step >= rough).unwrap_or(rough);
        Self { most: (most / step).ceil().max(1.0) * step, step, head, floor }
    }

    fn y(&self, value: f64) -> i32 {
        self.floor - (value / self.most * f64::from(self.floor - self.head)) as i32
    }

    fn grid(&self, area: &Area<'_>, left: i32) -> Drawn {
        for n in 0..=((self.most / self.step).round() as u32) {
            let value = f64::from(n) * self.step;
            let y = self.y(value);
            area.draw(&PathElement::new([(left, y), (WIDTH, y)], GRID))?;
            let words = if self.step >= 1.0 { usd(value).trim_end_matches(".00").to_owned() } else { usd(value) };
            label(area, &words, (left - 10, y), (HPos::Right, VPos::Center), FAINT)?;
        }
        Ok(())
    }
}

fn bar(area: &Area<'_>, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Drawn {
    area.draw(&Rectangle::new([from, to], colour.filled()))
}

fn label(area: &Area<'_>, text: &str, at: (i32, i32), (h, v): (HPos, VPos), colour: RGBColor) -> Drawn {
    let style = ("sans-serif", 18).into_font().color(&colour).pos(Pos::new(h, v));
    area.draw(&Text::new(visible(text), at, style))
}

/// Empty when there is nothing to draw: drawing into memory has no other way to fail.
fn draw(height: i32, what: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    let size = (WIDTH.unsigned_abs(), height.max(1).unsigned_abs());
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        what(&area).and_then(|()| area.present())
    };
    if drawn.is_ok() { svg } else { String::new() }
}
