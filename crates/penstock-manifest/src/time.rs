//! Moments as configuration writes them: RFC 3339 in UTC. Nothing here knows
//! what time it is.

/// Reads `2026-11-24T09:30:00Z` as seconds since 1970. A fraction of a second
/// is cut off, and what lies before 1970 is 0. `None` for anything else, also
/// for other offsets than `Z`.
pub fn parse_utc(text: &str) -> Option<u64> {
    let (date, clock) = text.strip_suffix(['Z', 'z'])?.split_once(['T', 't'])?;
    let clock = match clock.split_once('.') {
        Some((clock, fraction)) if is_number(fraction) => clock,
        Some(_) => return None,
        None => clock,
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    // The 60th second is a leap second.
    let is_time = hour < 24 && minute < 60 && second <= 60;
    if !is_time || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let Some(days) = days_since_1970(year, month, day) else {
        return Some(0);
    };
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Writes seconds since 1970 as `2026-11-24T09:30:00Z`.
pub fn format_utc(seconds: u64) -> String {
    let (days, clock) = (seconds / 86_400 + 719_468, seconds % 86_400);
    // Years that begin in March, in cycles of 400 (the inverse of
    // `days_since_1970`).
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    let (hour, minute, second) = (clock / 3_600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Three numbers of fixed width.
fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; 3];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let part = parts.next().filter(|part| part.len() == width && is_number(part))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// `parse` alone would take a sign.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn days_in(year: u64, month: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts in years that begin in March, so that the leap day is the last one.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month > 2 { year } else { year.checked_sub(1)? };
    let month = if month > 2 { month - 3 } else { month + 9 };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    days.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_counted_from_1970() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(parse_utc(text), expected, "{text}");
        };
        check("1970-01-01T00:00:00Z", Some(0));
        check("1970-01-01T00:01:01Z", Some(61));
        check("2000-02-29T00:00:00Z", Some(951_782_400));
        check("2000-03-01T00:00:00Z", Some(951_868_800));
        check("2024-12-31T23:59:59Z", Some(1_735_689_599));
        check("2024-12-31T23:59:60Z", Some(1_735_689_600));
        check("2024-12-31t23:59:59.999z", Some(1_735_689_599));
        check("2100-01-01T00:00:00Z", Some(4_102_444_800));
        check("9999-12-31T23:59:59Z", Some(253_402_300_799));
        check("1969-12-31T23:59:59Z", Some(0));
        check("0000-01-01T00:00:00Z", Some(0));
    }

    #[test]
    fn moments_are_written_as_they_are_read() {
        for day in 0..100_000 {
            let moment = day * 86_400 + day % 86_400;
            assert_eq!(parse_utc(&format_utc(moment)), Some(moment), "{}", format_utc(moment));
        }
    }

    #[test]
    fn what_is_no_moment_in_utc_is_refused() {
        let check = |text: &str| assert_eq!(parse_utc(text), None, "{text}");
        check("");
        check("2024-12-31");
        check("2024-12-31T23:59:59");
        check("2024-12-31 23:59:59Z");
        check("2024-12-31T23:59:59+00:00");
        check("2024-12-31T23:59Z");
        check("2024-12-31T23:59:59.Z");
        check("2024-12-31T23:59:59.1.1Z");
        check("2024-12-31T24:00:00Z");
        check("2024-12-31T23:60:00Z");
        check("2024-12-31T23:59:61Z");
        check("2024-13-01T00:00:00Z");
        check("2024-00-01T00:00:00Z");
        check("2024-04-31T00:00:00Z");
        check("2024-01-00T00:00:00Z");
        check("2023-02-29T00:00:00Z");
        check("2100-02-29T00:00:00Z");
        check("24-12-31T00:00:00Z");
        check("+024-12-31T00:00:00Z");
        check("2024-1-031T00:00:00Z");
        check("2024-12-31-1T00:00:00Z");
        check("tomorrow");
        check("1735689599");
    }
}
