//! A layered layout: columns by longest path, order in a column by the neighbours' middle, long arrows led between boxes.
//!
//! Arrows that close a cycle are turned round for layering only. Work is bounded: a fixed number of sweeps.

/// Sweeps over the columns: the order settles after few, the heights after some more.
const ORDER_SWEEPS: usize = 8;
const PLACE_SWEEPS: usize = 24;

/// Width and height of a box, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A point of the picture, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// Where everything is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) size: Size,
    /// Left upper corner of each box.
    pub(super) corners: Vec<Point>,
    /// For each arrow, the points that it passes, from box to box.
    pub(super) routes: Vec<Vec<Point>>,
}

/// Distances, in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gaps {
    /// Between columns, besides the widest label there.
    pub(super) column: f64,
    /// Between boxes of a column.
    pub(super) row: f64,
    /// Around everything.
    pub(super) margin: f64,
}

/// A box, or a point where a long arrow passes a column.
struct Cell {
    size: Size,
    column: usize,
    before: Vec<usize>,
    after: Vec<usize>,
    y: f64,
}

/// Lays out boxes of these sizes, joined by these arrows with labels of these widths; boxes marked `last` go to the last
/// column.
pub(super) fn layout(
    sizes: &[Size],
    arrows: &[(usize, usize)],
    labels: &[f64],
    last: &[bool],
    gaps: Gaps,
) -> Layout {
    let columns = columns(sizes.len(), arrows, last);
    let mut cells: Vec<Cell> = sizes
        .iter()
        .zip(&columns)
        .map(|(size, column)| Cell {
            size: *size,
            column: *column,
            before: Vec::new(),
            after: Vec::new(),
            y: 0.0,
        })
        .collect();
    let paths: Vec<Vec<usize>> = arrows
        .iter()
        .map(|(from, to)| path(&mut cells, *from, *to))
        .collect();
    let mut order = initial_order(&cells);
    for sweep in 0..ORDER_SWEEPS {
        sort(&cells, &mut order, sweep % 2 == 0);
    }
    place(&mut cells, &order, gaps.row);
    // A label stands on its arrow's first stretch.
    let mut spaces = vec![gaps.column; order.len()];
    for ((from, to), label) in arrows.iter().zip(labels) {
        let column = if columns[*from] <= columns[*to] {
            columns[*from]
        } else {
            columns[*from].saturating_sub(1)
        };
        spaces[column] = spaces[column].max(gaps.column + label);
    }
    finish(&cells, &order, sizes.len(), &paths, &spaces, gaps.margin)
}

/// The column of each box: one more than the greatest before it.
fn columns(count: usize, arrows: &[(usize, usize)], last: &[bool]) -> Vec<usize> {
    let mut state = vec![0_u8; count];
    let mut forward = Vec::new();
    for start in 0..count {
        turn_round(start, arrows, &mut state, &mut forward);
    }
    let mut columns = vec![0; count];
    // At most one pass for each box until nothing moves: `forward` has no cycle.
    for _ in 0..count {
        let mut moved = false;
        for &(from, to) in &forward {
            if columns[to] <= columns[from] {
                columns[to] = columns[from] + 1;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    let end = columns.iter().copied().max().unwrap_or(0);
    for (column, last) in columns.iter_mut().zip(last) {
        if *last {
            *column = end.max(1);
        }
    }
    columns
}

/// Depth first over the arrows; those that lead back are turned round.
fn turn_round(
    node: usize,
    arrows: &[(usize, usize)],
    state: &mut [u8],
    forward: &mut Vec<(usize, usize)>,
) {
    if state[node] != 0 {
        return;
    }
    state[node] = 1;
    for &(from, to) in arrows
        .iter()
        .filter(|(from, to)| *from == node && from != to)
    {
        if state[to] == 1 {
            forward.push((to, from));
        } else {
            forward.push((from, to));
            turn_round(to, arrows, state, forward);
        }
    }
    state[node] = 2;
}

/// Joins two boxes cell by cell, with a passing point in each column between them.
fn path(cells: &mut Vec<Cell>, from: usize, to: usize) -> Vec<usize> {
    let (start, end) = (cells[from].column, cells[to].column);
    let between: Vec<usize> = if start <= end {
        (start + 1..end).collect()
    } else {
        (end + 1..start).rev().collect()
    };
    let mut path = vec![from];
    for column in between {
        path.push(cells.len());
        cells.push(Cell {
            size: Size {
                width: 0.0,
                height: 12.0,
            },
            column,
            before: Vec::new(),
            after: Vec::new(),
            y: 0.0,
        });
    }
    path.push(to);
    for pair in path.windows(2) {
        let (left, right) = if start <= end {
            (pair[0], pair[1])
        } else {
            (pair[1], pair[0])
        };
        cells[left].after.push(right);
        cells[right].before.push(left);
    }
    path
}

fn initial_order(cells: &[Cell]) -> Vec<Vec<usize>> {
    let count = cells.iter().map(|cell| cell.column + 1).max().unwrap_or(0);
    let mut order = vec![Vec::new(); count];
    for (number, cell) in cells.iter().enumerate() {
        order[cell.column].push(number);
    }
    order
}

/// Sorts each column by where its neighbours of the column before (or after) stand.
fn sort(cells: &[Cell], order: &mut [Vec<usize>], forward: bool) {
    let mut rank = vec![0.0; cells.len()];
    let mut columns: Vec<usize> = (0..order.len()).collect();
    if !forward {
        columns.reverse();
    }
    for column in columns {
        let middle = |cell: &usize| {
            let neighbours = if forward {
                &cells[*cell].before
            } else {
                &cells[*cell].after
            };
            mean(neighbours.iter().map(|n| rank[*n])).unwrap_or(rank[*cell])
        };
        let mut keyed: Vec<(f64, usize)> = order[column].iter().map(|c| (middle(c), *c)).collect();
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
        order[column] = keyed.into_iter().map(|(_, cell)| cell).collect();
        let mut at = 0.0;
        for &cell in &order[column] {
            rank[cell] = at;
            at += 1.0;
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), v| (sum + v, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// Gives each cell its middle line: near its neighbours', in order, not overlapping.
fn place(cells: &mut [Cell], order: &[Vec<usize>], gap: f64) {
    for column in order {
        let mut y = 0.0;
        for &cell in column {
            cells[cell].y = y + cells[cell].size.height / 2.0;
            y += cells[cell].size.height + gap;
        }
    }
    for sweep in 0..PLACE_SWEEPS {
        let forward = sweep % 2 == 0;
        for step in 0..order.len() {
            let column = if forward {
                step
            } else {
                order.len() - 1 - step
            };
            let wanted: Vec<f64> = order[column]
                .iter()
                .map(|cell| {
                    let all = cells[*cell].before.iter().chain(&cells[*cell].after);
                    mean(all.map(|n| cells[*n].y)).unwrap_or(cells[*cell].y)
                })
                .collect();
            spread(cells, &order[column], &wanted, gap);
        }
    }
}

/// Puts a column's cells where they want to be, pushed apart and then back by half of the push on average.
fn spread(cells: &mut [Cell], column: &[usize], wanted: &[f64], gap: f64) {
    let mut least = f64::NEG_INFINITY;
    let mut pushed = 0.0;
    for (&cell, &want) in column.iter().zip(wanted) {
        let half = cells[cell].size.height / 2.0;
        let y = want.max(least + half);
        pushed += y - want;
        cells[cell].y = y;
        least = y + half + gap;
    }
    let count = column.iter().fold(0.0, |count, _| count + 1.0_f64);
    let back = pushed / count.max(1.0);
    for &cell in column {
        cells[cell].y -= back;
    }
}

fn finish(
    cells: &[Cell],
    order: &[Vec<usize>],
    boxes: usize,
    paths: &[Vec<usize>],
    spaces: &[f64],
    margin: f64,
) -> Layout {
    let top = cells
        .iter()
        .map(|cell| cell.y - cell.size.height / 2.0)
        .fold(f64::INFINITY, f64::min);
    let top = if top.is_finite() { top } else { 0.0 };
    let mut lefts = Vec::with_capacity(order.len());
    let mut widths = Vec::with_capacity(order.len());
    let mut x = margin;
    let mut right = margin;
    for (column, space) in order.iter().zip(spaces) {
        let width = column
            .iter()
            .map(|cell| cells[*cell].size.width)
            .fold(0.0, f64::max);
        lefts.push(x);
        widths.push(width);
        right = x + width;
        x = right + space;
    }
    let middle = |cell: &Cell| Point {
        x: lefts[cell.column] + widths[cell.column] / 2.0,
        y: cell.y - top + margin,
    };
    let corners = cells[..boxes]
        .iter()
        .map(|cell| Point {
            x: middle(cell).x - cell.size.width / 2.0,
            y: middle(cell).y - cell.size.height / 2.0,
        })
        .collect();
    let routes = paths
        .iter()
        .map(|path| route(cells, path, boxes, &middle))
        .collect();
    let bottom = cells
        .iter()
        .map(|cell| middle(cell).y + cell.size.height / 2.0)
        .fold(0.0, f64::max);
    Layout {
        size: Size {
            width: right + margin,
            height: bottom + margin,
        },
        corners,
        routes,
    }
}

/// The points of an arrow: out of one box's side, through the passing points, into the other's.
fn route(
    cells: &[Cell],
    path: &[usize],
    boxes: usize,
    middle: &impl Fn(&Cell) -> Point,
) -> Vec<Point> {
    let ends = (path.first(), path.last());
    let forward = match ends {
        (Some(from), Some(to)) => cells[*from].column <= cells[*to].column,
        _ => true,
    };
    path.iter()
        .enumerate()
        .map(|(index, number)| {
            let cell = &cells[*number];
            let mut point = middle(cell);
            if *number < boxes {
                let half = cell.size.width / 2.0;
                point.x += if (index == 0) == forward { half } else { -half };
            }
            point
        })
        .collect()
}
