//! Windows: when something may begin, by cron expression and time zone.
//!
//! An expression with fixed hours names times of the wall clock. If the clock skips such a time, the window
//! opens at the next moment that exists; if the clock shows it twice, the window opens once, at the first.
//! An expression for every hour (`*`) goes by real hours.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use cronexpr::Crontab;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A recurring window.
#[derive(Debug, Clone)]
pub struct Window {
    form: WindowForm,
    /// In the window's zone if it goes by real hours, else in UTC, which stands for the wall clock.
    opens: Crontab,
    /// The zone of the wall clock; `None` if it goes by real hours.
    wall: Option<TimeZone>,
}

/// A window in its written form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowForm {
    /// When it opens: a cron expression with five fields.
    pub cron: String,
    /// How many seconds it stays open.
    pub for_s: u32,
    /// The IANA time zone of the cron expression.
    pub tz: String,
}

/// A list of windows; an empty one means always.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Windows(Vec<Window>);

/// Cron expressions have no shorter interval.
const SHORTEST: SignedDuration = SignedDuration::from_mins(1);
/// The library looks four years ahead, so it is asked again this often: the calendar repeats itself after 28
/// years, or after 40 across a year like 2100 that has no 29 February.
const SEARCHES: i64 = 11;
const SEARCHED: SignedDuration = SignedDuration::from_hours(4 * 365 * 24);
/// How far a wall clock is set forward or back at most, where that is not a matter of whole days.
const CLOCK_SET_MAX: SignedDuration = SignedDuration::from_hours(4);

impl Window {
    /// Checks a window.
    ///
    /// # Errors
    /// One sentence: the expression or the zone cannot be parsed, or the window never opens.
    pub fn new(form: WindowForm) -> Result<Self, String> {
        let fields = form.cron.split_ascii_whitespace().count();
        if fields != 5 {
            return Err(format!(
                "'{}' has {fields} fields, but a window opens by five: minute, hour, day of the month, \
                month, day \
                 of the week",
                form.cron.escape_default()
            ));
        }
        if form.for_s == 0 {
            return Err("a window stays open for at least a second".to_owned());
        }
        let every_hour = form.cron.split_ascii_whitespace().nth(1).is_some_and(|hour| hour.starts_with('*'));
        let wall = TimeZone::get(&form.tz).ok().filter(|_| !every_hour);
        let parse = |zone: &str| cronexpr::parse_crontab(&format!("{} {zone}", form.cron));
        let parsed = parse(&form.tz).and_then(|opens| if wall.is_some() { parse("UTC") } else { Ok(opens) });
        let opens = parsed.map_err(|_| {
            format!(
                "'{}' in the zone '{}' is no cron expression in an IANA time zone, like '0 1 * * *' in \
                 'Europe/Amsterdam'",
                form.cron.escape_default(),
                form.tz.escape_default()
            )
        })?;
        let fields: Vec<&str> = form.cron.split_ascii_whitespace().collect();
        // The library overlooks the last days of December.
        if [2, 4].iter().any(|at| fields.get(*at).is_some_and(|field| field.contains(['L', 'l']))) {
            return Err(format!(
                "'{}' asks for a last day (L), which windows do not know: write the days, like 28-31",
                form.cron.escape_default()
            ));
        }
        if find_next(&opens, Timestamp::UNIX_EPOCH).is_none() {
            return Err(format!("'{}' never comes, so this window never opens", form.cron));
        }
        Ok(Self { form, opens, wall })
    }

    /// Its written form.
    pub fn form(&self) -> &WindowForm {
        &self.form
    }

    /// When it next opens after `now`.
    fn next_open(&self, now: Timestamp) -> Option<Timestamp> {
        let Some(zone) = &self.wall else { return find_next(&self.opens, now) };
        let on_the_wall = zone.to_datetime(now).checked_sub(CLOCK_SET_MAX).ok()?;
        let mut from = Offset::UTC.to_timestamp(on_the_wall).ok()?;
        loop {
            from = find_next(&self.opens, from)?;
            let opens = first_moment(zone, Offset::UTC.to_datetime(from))?;
            if opens > now {
                return Some(opens);
            }
        }
    }

    /// When it closes, if it is open at `now`.
    fn closes(&self, now: Timestamp) -> Option<Timestamp> {
        let open_for = Duration::from_secs(self.form.for_s.into());
        self.opened(now, now.checked_sub(open_for).ok()?)?.checked_add(open_for).ok()
    }
}

/// The next moment after `now` that an expression names, if there is one within 40 years.
fn find_next(opens: &Crontab, now: Timestamp) -> Option<Timestamp> {
    // Beyond the end of the calendar the library cannot look.
    now.checked_add(SEARCHED * (i32::try_from(SEARCHES).ok()? + 1)).ok()?;
    (0..SEARCHES).find_map(|search| {
        let from = now.checked_add(SEARCHED * i32::try_from(search).ok()?).ok()?;
        opens.find_next(from).ok().map(|moment| moment.timestamp())
    })
}

/// The first moment at which the wall clock shows this time, or, if it skips it, the next one that exists.
fn first_moment(zone: &TimeZone, on_the_wall: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(on_the_wall).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(on_the_wall).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(on_the_wall).ok(),
        AmbiguousOffset::Gap { after, .. } => {
            let before_it = after.to_timestamp(on_the_wall).ok()?.checked_sub(SHORTEST).ok()?;
            zone.following(before_it).next().map(|transition| transition.timestamp())
        }
    }
}

impl Window {
    /// The last moment up to `now` and after `earliest` at which it opened. It is found by bisection: a
    /// window that opens every minute and stays open for a year has opened half a million times.
    fn opened(&self, now: Timestamp, earliest: Timestamp) -> Option<Timestamp> {
        let next = |from| self.next_open(from).filter(|moment| *moment <= now);
        let mut opened = next(earliest)?;
        // After `opened` it may have opened again; after `none` it has not.
        let mut none = now;
        while none.duration_since(opened) >= SHORTEST {
            let middle = opened + none.duration_since(opened) / 2;
            match next(middle) {
                Some(later) => opened = later,
                None => none = middle,
            }
        }
        Some(opened)
    }
}

impl Windows {
    /// These windows; an empty list means always.
    pub fn new(windows: Vec<Window>) -> Self {
        Self(windows)
    }

    /// Each of them.
    pub fn as_slice(&self) -> &[Window] {
        &self.0
    }

    /// Whether something may begin at `now`.
    pub fn are_open(&self, now: Timestamp) -> bool {
        self.0.is_empty() || self.closes(now).is_some()
    }

    /// When the last of the windows open at `now` closes; `None` if none is open, or there are none.
    pub fn closes(&self, now: Timestamp) -> Option<Timestamp> {
        self.0.iter().filter_map(|window| window.closes(now)).max()
    }

    /// When the next one opens after `now`; `None` if there are none, or none ever opens again.
    pub fn next_open(&self, now: Timestamp) -> Option<Timestamp> {
        self.0.iter().filter_map(|window| window.next_open(now)).min()
    }
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.form == other.form
    }
}

impl Eq for Window {}

impl Serialize for Window {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.form.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(WindowForm::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn windows(cron: &str, hours: u32, tz: &str) -> Windows {
        let form = WindowForm { cron: cron.to_owned(), for_s: hours * 3600, tz: tz.to_owned() };
        Windows::new(vec![Window::new(form).unwrap()])
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn no_window_means_always() {
        let now = at("2026-11-25T12:00:00Z");
        let always = Windows::default();
        assert!(always.are_open(now) && always.next_open(now).is_none() && always.closes(now).is_none());
    }

    #[test]
    fn a_window_opens_and_closes_by_its_zone() {
        let night = windows("0 1 * * *", 4, "Europe/Amsterdam");
        assert!(!night.are_open(at("2026-11-25T23:59:59Z")));
        assert!(night.are_open(at("2026-11-26T00:00:00Z")) && night.are_open(at("2026-11-26T03:59:59Z")));
        assert!(!night.are_open(at("2026-11-26T04:00:00Z")));
        assert_eq!(night.closes(at("2026-11-26T01:00:00Z")), Some(at("2026-11-26T04:00:00Z")));
        assert_eq!(night.next_open(at("2026-11-26T01:00:00Z")), Some(at("2026-11-27T00:00:00Z")));
        // In summer, one hour earlier in UTC.
        assert!(night.are_open(at("2026-07-01T23:00:00Z")));
    }

    #[test]
    fn a_time_that_the_clock_skips_opens_at_the_next_moment_that_exists() {
        // On 28 March 2027 it is 03:00 right after 01:59 in Amsterdam: 01:00 UTC.
        for cron in ["30 2 * * *", "0 2 * * *", "0 2 * * 0"] {
            let night = windows(cron, 4, "Europe/Amsterdam");
            let opens = at("2027-03-28T01:00:00Z");
            assert_eq!(night.next_open(at("2027-03-27T12:00:00Z")), Some(opens), "{cron}");
            assert!(!night.are_open(at("2027-03-28T00:59:59Z")) && night.are_open(opens), "{cron}");
            assert_eq!(night.closes(opens), Some(at("2027-03-28T05:00:00Z")), "{cron}");
        }
        // Every time within the skipped hour is one opening.
        let often = windows("*/10 2 * * *", 1, "Europe/Amsterdam");
        assert_eq!(often.next_open(at("2027-03-27T12:00:00Z")), Some(at("2027-03-28T01:00:00Z")));
        assert_eq!(often.next_open(at("2027-03-28T01:00:00Z")), Some(at("2027-03-29T00:00:00Z")));
        // A window over the skipped hour is as long as it says, and ends an hour later by the clock on the
        // wall.
        let long = windows("0 1 * * *", 4, "Europe/Amsterdam");
        assert_eq!(long.closes(at("2027-03-28T00:30:00Z")), Some(at("2027-03-28T04:00:00Z")));
        assert_eq!(long.closes(at("2027-03-29T00:30:00Z")), Some(at("2027-03-29T03:00:00Z")));
        // A whole day that was skipped: 30 December 2011 in Samoa.
        let samoa = windows("0 12 30 12 *", 1, "Pacific/Apia");
        assert_eq!(samoa.next_open(at("2011-12-01T00:00:00Z")), Some(at("2011-12-30T10:00:00Z")));
        // Half an hour on Lord Howe Island, from 02:00 on 3 October 2027.
        let lord_howe = windows("15 2 * * *", 1, "Australia/Lord_Howe");
        assert_eq!(lord_howe.next_open(at("2027-10-02T12:00:00Z")), Some(at("2027-10-02T15:30:00Z")));
    }

    #[test]
    fn a_time_that_the_clock_shows_twice_opens_once() {
        // On 31 October 2027 the hour from 02:00 comes twice in Amsterdam: at 00:00 and 01:00 UTC.
        let night = windows("30 2 * * *", 1, "Europe/Amsterdam");
        assert_eq!(night.next_open(at("2027-10-30T12:00:00Z")), Some(at("2027-10-31T00:30:00Z")));
        assert_eq!(night.next_open(at("2027-10-31T00:30:00Z")), Some(at("2027-11-01T01:30:00Z")));
        assert_eq!(night.closes(at("2027-10-31T01:00:00Z")), Some(at("2027-10-31T01:30:00Z")));
        assert!(!night.are_open(at("2027-10-31T01:30:00Z")));
        // One that opens at another hour opens once as well.
        let early = windows("0 1 * * *", 1, "Europe/Amsterdam");
        assert_eq!(early.next_open(at("2027-10-30T12:00:00Z")), Some(at("2027-10-30T23:00:00Z")));
        assert_eq!(early.next_open(at("2027-10-30T23:00:00Z")), Some(at("2027-11-01T00:00:00Z")));
    }

    #[test]
    fn every_hour_goes_by_real_hours() {
        for day in ["2027-03-28", "2027-10-31"] {
            let hourly = windows("30 * * * *", 1, "Europe/Amsterdam");
            let mut moment = at(&format!("{day}T00:00:00Z")) - SignedDuration::from_hours(12);
            for _ in 0..24 {
                let next = hourly.next_open(moment).unwrap();
                assert!(next.duration_since(moment) <= SignedDuration::from_hours(1), "{moment} {next}");
                moment = next;
            }
        }
    }

    #[test]
    fn an_opening_within_ten_years_is_found_and_the_end_of_the_calendar_stops_nothing() {
        // 2100 is no leap year.
        let leap = windows("0 3 29 2 *", 1, "UTC");
        assert_eq!(leap.next_open(at("2096-03-01T00:00:00Z")), Some(at("2104-02-29T03:00:00Z")));
        for cron in ["0 3 29 2 *", "* * * * *", "0 2 * * 0"] {
            let windows = windows(cron, 4, "Europe/Amsterdam");
            for moment in [Timestamp::MAX, Timestamp::MIN, at("9998-12-31T00:00:00Z")] {
                let (_, _, _) = (windows.next_open(moment), windows.are_open(moment), windows.closes(moment));
            }
        }
    }

    #[test]
    fn the_last_time_that_it_opened_counts() {
        for (cron, hours) in [("* * * * *", 30), ("*/7 3-5 * * *", 9), ("0 1 * * *", 60), ("30 2 1 * *", 3)] {
            let [window] = &windows(cron, hours, "Europe/Amsterdam").0[..] else { unreachable!("one") };
            for half_hours in 0..100 {
                let now = at("2027-10-30T00:00:00Z") + SignedDuration::from_mins(half_hours * 30);
                // One after the other.
                let mut opened = None;
                let mut from = now - SignedDuration::from_hours(hours.into());
                while let Some(moment) = window.next_open(from).filter(|moment| *moment <= now) {
                    (opened, from) = (Some(moment), moment);
                }
                let closes = opened.map(|opened| opened + SignedDuration::from_hours(hours.into()));
                assert_eq!(window.closes(now), closes, "{cron} at {now}");
            }
        }
    }

    #[test]
    fn a_window_that_opens_each_minute_for_a_year_costs_no_more_than_others() {
        let always = windows("* * * * *", 366 * 24, "Europe/Amsterdam");
        let began = std::time::Instant::now();
        for minutes in 0..1000 {
            let now = at("2026-11-25T12:00:30Z") + SignedDuration::from_mins(minutes);
            let opened = now - SignedDuration::from_secs(30);
            assert_eq!(always.closes(now), Some(opened + SignedDuration::from_hours(366 * 24)));
        }
        // Trying them one by one would mean half a billion moments.
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    }

    #[test]
    fn no_year_and_no_expression_makes_a_search_panic_or_miss_an_opening() {
        for cron in
            ["* * * * *", "0 0 29 2 *", "0 0 * 2 MON#5", "59 23 31 12 *", "0 0 31W 1 *", "*/7 * 1,15 * 0"]
        {
            for tz in ["UTC", "Europe/Amsterdam", "Pacific/Apia", "America/Sao_Paulo"] {
                let windows = windows(cron, 1, tz);
                for year in (1970..=9999).step_by(73).chain([1999, 2096, 2097, 2099, 9955, 9990, 9998, 9999])
                {
                    let _ = windows.next_open(at(&format!("{year:04}-12-30T22:00:00Z")));
                }
                let _ = (windows.next_open(Timestamp::MAX), windows.closes(Timestamp::MAX));
                let _ = (windows.next_open(Timestamp::MIN), windows.closes(Timestamp::MIN));
            }
        }
        // 2100 has no 29 February, and the 29th is not a Monday before 2044.
        let leap = windows("0 0 29 2 *", 1, "UTC");
        assert_eq!(leap.next_open(at("2096-03-01T00:00:00Z")), Some(at("2104-02-29T00:00:00Z")));
        let rare = windows("0 0 * 2 MON#5", 1, "UTC");
        assert_eq!(rare.next_open(at("2035-01-01T00:00:00Z")), Some(at("2044-02-29T00:00:00Z")));
        assert_eq!(rare.next_open(at("2072-03-01T00:00:00Z")), Some(at("2112-02-29T00:00:00Z")));
    }

    #[test]
    fn what_never_opens_or_cannot_be_read_is_refused() {
        let new = |cron: &str, for_s, tz: &str| {
            Window::new(WindowForm { cron: cron.to_owned(), for_s, tz: tz.to_owned() }).map(|_| ())
        };
        assert_eq!(new("0 3 29 2 *", 60, "UTC"), Ok(()));
        for (cron, for_s, tz, said) in [
            ("0 0 31 2 *", 60, "UTC", "never opens"),
            ("0 0 L * *", 60, "UTC", "write the days"),
            ("0 0 * * 5L", 60, "UTC", "write the days"),
            ("0 0 * *", 60, "UTC", "has 4 fields"),
            ("0 0 * * * *", 60, "UTC", "has 6 fields"),
            ("0 25 * * *", 60, "UTC", "no cron expression"),
            ("0 1 * * *", 60, "Europe/Nowhere", "IANA time zone"),
            ("0 1 * * *", 60, "", "IANA time zone"),
            ("0 1 * * *", 0, "UTC", "at least a second"),
        ] {
            let error = new(cron, for_s, tz).unwrap_err();
            assert!(error.contains(said), "{cron} {tz}: {error}");
        }
    }

    #[test]
    fn windows_are_written_and_read_alike() {
        let night = windows("0 1 * * 1-5", 4, "Europe/Amsterdam");
        let text = serde_json::to_string(&night).unwrap();
        assert_eq!(text, r#"[{"cron":"0 1 * * 1-5","for_s":14400,"tz":"Europe/Amsterdam"}]"#);
        assert_eq!(serde_json::from_str::<Windows>(&text).unwrap(), night);
        assert!(serde_json::from_str::<Windows>(&text.replace("1-5", "1-9")).is_err());
        for (cron, hours) in [("0 1 * * 1-4", 4), ("0 1 * * 1-5", 5)] {
            assert_ne!(windows(cron, hours, "Europe/Amsterdam"), night);
        }
    }
}
