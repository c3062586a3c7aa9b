//! The report application.
