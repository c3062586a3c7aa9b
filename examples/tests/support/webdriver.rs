//! A browser, driven by the WebDriver protocol: JSON over HTTP.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use standfast_core::testkit::service;
use tempfile::TempDir;

use super::http::request;

const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];
/// What the protocol calls a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const PATIENCE: Duration = Duration::from_secs(30);

/// One browser with a profile of its own, closed when it is dropped.
pub(crate) struct Browser {
    driver: SocketAddr,
    session: String,
    /// Where it puts downloads.
    pub(crate) downloads: TempDir,
    _profile: TempDir,
}

impl Browser {
    /// A new one, by the driver that the environment names. `None`, loudly, when it names none.
    pub(crate) fn start() -> Option<Self> {
        let url = service("chromium", "STANDFAST_TEST_WEBDRIVER")?;
        let driver = url.trim_start_matches("http://").trim_end_matches('/');
        let driver = driver.to_socket_addrs().unwrap().next().unwrap();
        let [profile, downloads] = [(); 2].map(|()| TempDir::new().unwrap());
        let own = format!("--user-data-dir={}", profile.path().display());
        let flags: Vec<&str> = FLAGS.into_iter().chain(["--window-size=1000,1100", &own]).collect();
        let options = json!({
            "args": flags,
            "prefs": { "download.default_directory": downloads.path() },
        });
        let wanted = json!({ "browserName": "chrome", "goog:chromeOptions": options });
        let body = json!({ "capabilities": { "alwaysMatch": wanted } });
        let value = call(driver, "POST", "/session", &body).expect("a browser");
        let session = format!("/session/{}", value["sessionId"].as_str().unwrap());
        Some(Self { driver, session, downloads, _profile: profile })
    }

    /// Shows pages as a small phone does.
    pub(crate) fn be_a_phone(&self) {
        let screen = json!({ "width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": true });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": screen });
        self.post("/goog/cdp/execute", &command);
    }

    pub(crate) fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Presses the element that this CSS selector finds.
    pub(crate) fn click(&self, css: &str) {
        self.post(&format!("/element/{}/click", self.find(css)), &json!({}));
    }

    /// Types; into a file input, the path of the file to choose.
    pub(crate) fn write(&self, css: &str, text: &str) {
        self.post(&format!("/element/{}/value", self.find(css)), &json!({ "text": text }));
    }

    /// What can be read there; nothing where the element is hidden.
    pub(crate) fn text(&self, css: &str) -> String {
        self.read(css, "/text").as_str().unwrap_or_default().to_owned()
    }

    /// What the element's attribute is.
    pub(crate) fn property(&self, css: &str, name: &str) -> Value {
        self.read(css, &format!("/property/{name}"))
    }

    pub(crate) fn is_shown(&self, css: &str) -> bool {
        self.read(css, "/displayed") == true
    }

    /// Chooses the option of a select that has this value.
    pub(crate) fn choose(&self, css: &str, value: &str) {
        self.click(&format!("{css} option[value={value:?}]"));
    }

    /// What the body of a function returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until this is so; the text of the page tells what is the matter if it never is.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !is_so(self) {
            assert!(begin.elapsed() < PATIENCE, "not so: {what}; {}", self.text("body"));
            sleep(Duration::from_millis(30));
        }
    }

    /// Goes to the window that was opened last.
    pub(crate) fn follow_new_window(&self) {
        let windows =
            call(self.driver, "GET", &(self.session.clone() + "/window/handles"), &json!({}));
        let last = windows.unwrap().as_array().unwrap().last().unwrap().clone();
        self.post("/window", &json!({ "handle": last }));
    }

    /// Keeps a picture where the environment asks for it.
    pub(crate) fn picture(&self, name: &str) {
        let Some(directory) = std::env::var_os("STANDFAST_TEST_SCREENSHOTS") else { return };
        let path = self.session.clone() + "/screenshot";
        let picture = call(self.driver, "GET", &path, &json!({})).unwrap();
        let picture = STANDARD.decode(picture.as_str().unwrap()).unwrap();
        fs::create_dir_all(&directory).unwrap();
        fs::write(Path::new(&directory).join(format!("{name}.png")), picture).unwrap();
    }

    fn find(&self, css: &str) -> String {
        let found = self.post("/element", &json!({ "using": "css selector", "value": css }));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    fn read(&self, css: &str, what: &str) -> Value {
        let path = format!("{}/element/{}{what}", self.session, self.find(css));
        call(self.driver, "GET", &path, &json!({})).unwrap()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let path = format!("{}{path}", self.session);
        call(self.driver, "POST", &path, body)
            .unwrap_or_else(|error| panic!("{path} {body}: {error}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = call(self.driver, "DELETE", &self.session, &json!({}));
    }
}

fn call(driver: SocketAddr, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let kind = [("Content-Type", "application/json")];
    let body = if method == "POST" { body.to_string() } else { String::new() };
    let answer = request(driver, method, path, &kind, body.as_bytes());
    let answer = answer.map_err(|error| error.to_string())?;
    match (answer.status, answer.json()["value"].take()) {
        (200, value) => Ok(value),
        (_, error) => Err(format!("{}: {}", error["error"], error["message"])),
    }
}
