//! The date of an answer, put together once a second on each thread.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY_SECONDS: u64 = 86_400;
/// From the first of March of the year 0 to the beginning of 1970.
const DAYS_BEFORE_EPOCH: u64 = 719_468;
/// In 400 years.
const CYCLE_DAYS: u64 = 146_097;
const WEEKDAYS: [&[u8]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
/// The year begins in March here, so that a leap day is its last.
const MONTHS: [&[u8]; 12] = [
    b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec", b"Jan", b"Feb",
];

thread_local! {
    static NOW: RefCell<(u64, Vec<u8>)> = const { RefCell::new((0, Vec::new())) };
}

/// Writes the present date (RFC 9110, 5.6.7).
pub(super) fn write(to: &mut Vec<u8>) {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    NOW.with_borrow_mut(|(known, text)| {
        if *known != seconds || text.is_empty() {
            *known = seconds;
            text.clear();
            format(seconds, text);
        }
        to.extend_from_slice(text);
    });
}

fn format(seconds: u64, to: &mut Vec<u8>) {
    let (days, second) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
    let since_march = days + DAYS_BEFORE_EPOCH;
    let (cycle, day) = (since_march / CYCLE_DAYS, since_march % CYCLE_DAYS);
    // Without the leap days before it, all years are equal.
    let year = (day - day / 1460 + day / 36_524 - day / (CYCLE_DAYS - 1)) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let year = 400 * cycle + year + u64::from(month >= 10);
    let name = |names: &[&'static [u8]], at: u64| names.get(at as usize).copied().unwrap_or(b"");
    to.extend_from_slice(name(&WEEKDAYS, days % 7));
    to.extend_from_slice(b", ");
    two_digits(day_of_month, to);
    to.push(b' ');
    to.extend_from_slice(name(&MONTHS, month));
    to.push(b' ');
    two_digits(year / 100, to);
    two_digits(year % 100, to);
    for (separator, number) in
        [(b' ', second / 3600), (b':', second / 60 % 60), (b':', second % 60)]
    {
        to.push(separator);
        two_digits(number, to);
    }
    to.extend_from_slice(b" GMT");
}

fn two_digits(number: u64, to: &mut Vec<u8>) {
    to.extend([b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]);
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_those_of_http() {
        let check = |seconds: u64, expected: &str| {
            let mut text = Vec::new();
            super::format(seconds, &mut text);
            assert_eq!(String::from_utf8(text).unwrap(), expected, "{seconds}");
        };
        check(0, "Thu, 01 Jan 1970 00:00:00 GMT");
        check(784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT");
        check(951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT");
        check(951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT");
        check(951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT");
        check(1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT");
        check(4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT");
        check(253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
