//! Times as numbers, for columns and sealed documents. The one rule: nanoseconds since 1970 in 64 bits; what lies beyond
//! (before 1677, after 2262) becomes the bound.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The number that stands for a time.
pub(super) fn to_number(at: SystemTime) -> i64 {
    let number = |length: Duration| i64::try_from(length.as_nanos()).unwrap_or(i64::MAX);
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => number(since),
        Err(before) => -number(before.duration()),
    }
}

/// The time a number stands for.
pub(super) fn from_number(number: i64) -> SystemTime {
    let length = Duration::from_nanos(number.unsigned_abs());
    if number < 0 { UNIX_EPOCH - length } else { UNIX_EPOCH + length }
}

/// The number that stands for a length of time.
pub(super) fn length_to_number(length: Duration) -> i64 {
    i64::try_from(length.as_nanos()).unwrap_or(i64::MAX)
}

/// For `#[serde(with = …)]`.
pub(super) mod whole {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::store) fn serialize<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(super::to_number(*at))
    }

    pub(in crate::store) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        i64::deserialize(from).map(super::from_number)
    }
}

/// For `#[serde(with = …)]` on a time that may be absent.
pub(super) mod perhaps {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::store) fn serialize<S: Serializer>(
        at: &Option<SystemTime>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(super::to_number).serialize(to)
    }

    pub(in crate::store) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        Ok(Option::<i64>::deserialize(from)?.map(super::from_number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_comes_back_as_it_was() {
        let late = Duration::from_secs(10_000_000_000);
        for at in [UNIX_EPOCH, SystemTime::now(), UNIX_EPOCH - Duration::from_nanos(7)] {
            assert_eq!(from_number(to_number(at)), at);
        }
        assert_eq!(to_number(UNIX_EPOCH + late), i64::MAX);
    }
}
