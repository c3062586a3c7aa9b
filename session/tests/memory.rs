//! The suite against the memory backend, on a clock that stands still and on real time.

mod support;

standfast_session::session_conformance!(manual_time, support::manual());
standfast_session::session_conformance!(real_time, support::real());

#[test]
fn pointers_to_a_handler_are_handlers() {
    fn is_handler<H: standfast_session::SessionHandler>() {}
    is_handler::<std::sync::Arc<dyn standfast_session::SessionHandler>>();
    is_handler::<Box<standfast_session::MemorySessionHandler>>();
}
