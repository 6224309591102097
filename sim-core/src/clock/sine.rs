//! The sine in integers, equal on every platform.

/// The steps of a quarter turn.
const STEPS: usize = 64;

/// What the table counts as one.
const ONE: i128 = 1 << 30;

/// The sine over the first quarter, by its series in fixed point; the terms left out are below a thousand-millionth.
const QUARTER: [i128; STEPS + 1] = {
    const HALF_PI: i128 = 1_686_629_713;
    let mut table = [0; STEPS + 1];
    let mut step = 0;
    while step <= STEPS {
        let x = HALF_PI * step as i128 / STEPS as i128;
        let square = x * x / ONE;
        let (mut term, mut sum, mut n) = (x, x, 1);
        while n < 15 {
            term = -term * square / ONE / ((n + 1) * (n + 2));
            sum += term;
            n += 2;
        }
        table[step] = if step == STEPS { ONE } else { sum };
        step += 1;
    }
    table
};

/// `amplitude * sin(2 * pi * at / period)`.
pub(super) fn of(amplitude: u64, at: u64, period: u64) -> i128 {
    let turn = 4 * STEPS as u128 * ONE as u128;
    let phase = u128::from(at % period) * turn / u128::from(period);
    let (quarter, within) = (phase / (turn / 4), phase % (turn / 4));
    let within = if quarter % 2 == 0 { within } else { turn / 4 - within };
    let (step, between) = ((within / ONE as u128) as usize, (within % ONE as u128) as i128);
    let next = QUARTER[(step + 1).min(STEPS)];
    let height = QUARTER[step] + (next - QUARTER[step]) * between / ONE;
    let size = i128::from(amplitude) * height / ONE;
    if quarter < 2 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sine_to_a_thousandth() {
        for at in 0..=720 {
            let exact = (f64::from(at) * std::f64::consts::PI / 180.0).sin() * 1e6;
            let ours = of(1_000_000, u64::try_from(at).unwrap(), 360) as f64;
            assert!((exact - ours).abs() < 1_000.0, "{at} degrees: {exact} and {ours}");
        }
    }
}
