//! Somebody with a browser: keeps the cookie it is given.

use serde_json::Value;

use super::Server;
use super::http::Answer;

pub(crate) struct Visitor<'a> {
    at: &'a Server,
    cookie: String,
}

impl<'a> Visitor<'a> {
    /// A new one, who has seen the page.
    pub(crate) fn of(server: &'a Server) -> Self {
        let mut visitor = Self::with(server, "");
        assert_eq!(visitor.get("/").status, 200);
        assert!(visitor.cookie.starts_with("id="), "{}", visitor.cookie);
        visitor
    }

    /// One with this cookie.
    pub(crate) fn with(server: &'a Server, cookie: &str) -> Self {
        Self { at: server, cookie: cookie.to_owned() }
    }

    /// The same one at another server.
    pub(crate) fn at<'b>(&self, server: &'b Server) -> Visitor<'b> {
        Visitor::with(server, &self.cookie)
    }

    pub(crate) fn cookie(&self) -> &str {
        &self.cookie
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        let answer = self.at.get_as(path, &self.cookie);
        self.keep(answer)
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Answer {
        let answer = self.at.post_json(path, &[("Cookie", &self.cookie)], body);
        self.keep(answer)
    }

    fn keep(&mut self, answer: Answer) -> Answer {
        if let Some(cookie) = answer.header("set-cookie") {
            assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
            cookie.split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        answer
    }
}
