//! The time of the service, as its answers tell it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_sdk_s3::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime as SmithyTime, DateTimeFormat};
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::http::Headers;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use chrono::{DateTime, TimeDelta, Utc};
use standfast_core::Clock;

/// A local clock, corrected by the `Date` of every answer.
///
/// An answer dated D that came R after a request that left at S says: the service's clock is ahead
/// by at least D - R and less than D + 1 s - S. What all answers say together narrows that down. A
/// local clock that fits is taken as it is, so that two instances with good clocks agree.
#[derive(Clone)]
pub(super) struct ServiceClock {
    local: Arc<dyn Clock>,
    ahead: Arc<Mutex<Ahead>>,
}

/// By how many microseconds the service is ahead: no less, no more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Ahead {
    least: i64,
    most: i64,
}

impl Ahead {
    const UNKNOWN: Self = Self { least: i64::MIN, most: i64::MAX };

    /// What is known after one more answer. One that contradicts the others means that a clock was
    /// set: only it counts.
    fn and(self, other: Self) -> Self {
        let both = Self { least: self.least.max(other.least), most: self.most.min(other.most) };
        if both.least <= both.most { both } else { other }
    }

    /// Nothing, if that is possible; else the middle.
    fn guess(self) -> i64 {
        if (self.least..=self.most).contains(&0) { 0 } else { self.least.midpoint(self.most) }
    }
}

impl ServiceClock {
    pub(super) fn new(local: Arc<dyn Clock>) -> Self {
        Self { local, ahead: Arc::new(Mutex::new(Ahead::UNKNOWN)) }
    }

    pub(super) fn local(&self) -> &dyn Clock {
        &*self.local
    }

    /// The time of the service.
    pub(super) fn now(&self) -> DateTime<Utc> {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).guess();
        self.local.now() + TimeDelta::microseconds(ahead)
    }

    /// Learns from the answer to a request that was sent at `sent`, by the local clock.
    pub(super) fn learn_from(&self, headers: &Headers, sent: DateTime<Utc>) {
        if let Some(date) = headers.get("date").and_then(http_date) {
            self.learn(date, sent, self.local.now());
        }
    }

    fn learn(&self, date: DateTime<Utc>, sent: DateTime<Utc>, received: DateTime<Utc>) {
        let least = (date - received).num_microseconds().unwrap_or(0);
        let most = (date + TimeDelta::seconds(1) - sent).num_microseconds().unwrap_or(0);
        if least > most {
            return; // the local clock was set back in between
        }
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        *ahead = ahead.and(Ahead { least, most });
    }
}

/// The time in a header, in whole seconds.
pub(super) fn http_date(text: &str) -> Option<DateTime<Utc>> {
    let date = SmithyTime::from_str(text, DateTimeFormat::HttpDate).ok()?;
    DateTime::from_timestamp(date.secs(), 0)
}

impl fmt::Debug for ServiceClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceClock").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// Requests are signed with the service's time: a wrong local clock does not make them stale.
impl TimeSource for ServiceClock {
    fn now(&self) -> SystemTime {
        Self::now(self).into()
    }
}

#[derive(Debug)]
struct Sent(DateTime<Utc>);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

impl Intercept for ServiceClock {
    fn name(&self) -> &'static str {
        "standfast service clock"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state().store_put(Sent(self.local.now()));
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(Sent(sent)) = bag.load::<Sent>() {
            self.learn_from(context.response().headers(), *sent);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use standfast_core::testkit::ManualClock;

    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap()
    }

    #[test]
    fn answers_narrow_the_time_down() {
        let clock = ServiceClock::new(Arc::new(ManualClock::at(at(0))));
        clock.learn(at(0), at(-300), at(100));
        assert_eq!(clock.now(), at(0), "a local clock that fits is taken as it is");
        clock.learn(at(3_600_000), at(-100), at(0));
        assert_eq!(clock.now(), at(3_600_550), "an hour ahead, give or take half a second");
        clock.learn(at(3_600_000), at(-900), at(-800));
        assert_eq!(clock.now(), at(3_600_950), "and no less than 800 ms");
        clock.learn(at(-60_000), at(0), at(10));
        assert_eq!(clock.now(), at(-59_505), "set back");
    }
}
