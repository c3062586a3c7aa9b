//! The suite against the memory backend, on a clock that stands still and on real time.

mod support;

standfast_session::session_conformance!(manual_time, support::manual());
standfast_session::session_conformance!(real_time, support::real());
