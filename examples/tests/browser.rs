//! The page, in a real browser: needs a WebDriver, see `scripts/test`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::fs::{self, File};
use std::io::BufWriter;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::Server;
use support::table::{Table, Totals, read_totals, sample_totals};
use support::webdriver::Browser;
use tempfile::TempDir;

/// Notes what the page shows of a report from now on.
const WATCH: &str = "
    window.seen = [];
    const note = () => window.seen.push(
        [document.querySelector('#status').textContent, document.querySelector('#progress').value]);
    new MutationObserver(note).observe(document.querySelector('#current'),
        { attributes: true, childList: true, characterData: true, subtree: true });";

fn file(home: &TempDir, name: &str, table: Table) -> PathBuf {
    let path = home.path().join(name);
    table.write(&mut BufWriter::new(File::create(&path).unwrap())).unwrap();
    path
}

fn upload(browser: &Browser, path: &Path) {
    browser.write("#file", path.to_str().unwrap());
}

fn start(browser: &Browser, group_by: &str, sum: &str) {
    browser
        .until("there are columns to choose", |page| page.run("return !choices.disabled") == true);
    browser.choose("#group-by", group_by);
    browser.choose("#sum", sum);
    browser.click("#start");
}

fn await_ready(browser: &Browser) {
    browser.until("it is ready", |page| page.text("#status") == "Your report is ready.");
}

/// Follows the link to the totals, as a person does.
fn download(browser: &Browser, header: &str) -> Totals {
    browser.click("#totals-link");
    let path = browser.downloads.path().join("totals.csv");
    // until it is complete, an empty file holds its place
    let size = || fs::metadata(&path).map_or(0, |file| file.len());
    browser.until("it is downloaded", |_| size() > 0);
    let totals = read_totals(&fs::read(&path).unwrap(), header);
    fs::remove_file(path).unwrap();
    totals
}

/// A sum as people read it.
fn in_words(cents: i64) -> String {
    let (whole, rest) = ((cents / 100).to_string(), (cents % 100).abs());
    let digits = whole.as_bytes().rchunks(3).rev().map(|three| str::from_utf8(three).unwrap());
    format!("{}.{rest:02}", digits.collect::<Vec<_>>().join(","))
}

#[test]
fn a_person_makes_reports() {
    let Some(browser) = Browser::start() else { return };
    let (server, home) = (Server::start(), TempDir::new().unwrap());
    let table = Table::of_megabytes(40);
    browser.open(&format!("http://{}/", server.address));
    browser.picture("1-start");

    upload(&browser, &file(&home, "orders.csv", table));
    browser.until("it is uploaded", |page| {
        page.text("#chosen").starts_with("orders.csv: 40,000 rows")
    });
    browser.run(WATCH);
    start(&browser, "region", "amount");
    browser.until("it is worked on", |page| page.text("#status") != "Waiting for its turn…");
    browser.picture("2-running");
    await_ready(&browser);
    let seen = browser.run("return window.seen");
    let between = |note: &Value| {
        note[0] == "Working on it…" && note[1].as_f64().is_some_and(|done| 0.0 < done && done < 1.0)
    };
    assert!(seen.as_array().unwrap().iter().any(between), "the bar moves: {seen}");
    browser.picture("3-ready");
    assert_eq!(download(&browser, "region,amount"), table.totals());

    browser.click("#report-link");
    browser.follow_new_window();
    browser
        .until("the report is shown", |page| page.run("return document.readyState") == "complete");
    let total: i64 = table.totals().values().sum();
    let text = browser.text("body");
    assert!(text.contains(&in_words(total)), "{} in {text}", in_words(total));
    assert!(browser.is_shown("svg"));
    browser.picture("4-report");
}

#[test]
fn the_sample_needs_no_file() {
    let Some(browser) = Browser::start() else { return };
    let server = Server::with(&["--tick", "1", "--every", "2"]);
    browser.open(&format!("http://{}/", server.address));
    browser.click("#use-sample");
    assert_eq!(browser.text("#chosen"), "Sample: 5,000 rows, 5 columns");
    start(&browser, "region", "revenue");
    await_ready(&browser);
    assert_eq!(download(&browser, "region,revenue"), sample_totals());
    // the list of reports is still there after a reload
    browser.open(&format!("http://{}/", server.address));
    await_ready(&browser);
    assert!(browser.text("#jobs").contains("revenue by region (Sample)"));
    browser.click("#history summary");
    browser.until("the record is shown", |page| {
        let (chain, events) = (page.text("#chain"), page.text("#events"));
        chain == "complete and unchanged" && events.contains("Ready: revenue by region (Sample)")
    });
    browser.picture("8-history");
    browser.click("#ticks summary");
    browser.until("a tick has sent a report", |page| page.text("#ledger").contains("report"));
    browser.run("document.querySelector('#ticks').scrollIntoView()");
    browser.picture("10-ticks");
    // and gone for who starts over, who is told so once
    browser.click("#reports button[type=submit]");
    browser.until("it is told", |page| {
        page.run("return document.querySelector('.flash')?.innerText")
            == "You have started over: your list is empty."
    });
    assert!(!browser.is_shown("#reports"));
    browser.picture("9-over");
    browser.open(&format!("http://{}/", server.address));
    assert_eq!(browser.run("return document.querySelectorAll('.flash').length"), 0);
}

/// An address of this machine that others reach, or another one of its own.
fn other_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // nothing is sent: it only says by which address
    let outer = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    outer.map_or_else(|_| IpAddr::from([127, 0, 0, 2]), |address| address.ip())
}

#[test]
fn a_browser_keeps_its_session_from_another_address() {
    let Some(browser) = Browser::start() else { return };
    let server = Server::with(&["--listen", "0.0.0.0:0"]);
    let url = format!("http://{}/", SocketAddr::new(other_address(), server.address.port()));
    browser.open(&url);
    browser.click("#use-sample");
    start(&browser, "region", "revenue");
    await_ready(&browser);
    browser.open(&url);
    await_ready(&browser);
    assert!(browser.text("#jobs").contains("revenue by region (Sample)"));
}

#[test]
fn what_goes_wrong_is_said_in_words() {
    let Some(browser) = Browser::start() else { return };
    let (server, home) = (Server::start(), TempDir::new().unwrap());
    browser.open(&format!("http://{}/", server.address));
    let zip = home.path().join("orders.csv");
    fs::write(&zip, [b"PK\x03\x04".as_slice(), &vec![7; 64 << 20]].concat()).unwrap();
    upload(&browser, &zip);
    browser.until("it is refused", |page| page.is_shown("#error"));
    let error = browser.text("#error");
    assert!(error.contains("Cannot use orders.csv: this is a zip archive"), "{error}");
    browser.picture("5-refused");

    upload(&browser, &file(&home, "notes.csv", Table { rows: 100, note: 5 }));
    start(&browser, "region", "note");
    browser.until("it has failed", |page| page.text("#status") == "This report could not be made.");
    let error = browser.text("#detail");
    assert!(error.contains("column \"note\" is not a number"), "{error}");
    browser.picture("6-failed");
}

#[test]
fn a_report_can_be_cancelled() {
    let Some(browser) = Browser::start() else { return };
    let (server, home) = (Server::start(), TempDir::new().unwrap());
    browser.open(&format!("http://{}/", server.address));
    upload(&browser, &file(&home, "long.csv", Table::of_megabytes(30)));
    start(&browser, "region", "amount");
    let job = server.stop_job();
    browser.click("#cancel");
    support::process::signal(job, support::process::Signal::CONT);
    browser.until("it is cancelled", |page| page.text("#status") == "Cancelled.");
    support::eventually("the process is gone", || !support::process::is_alive(job));
    assert!(!browser.is_shown("#cancel"));
    browser.picture("7-cancelled");
}

#[test]
fn a_phone_shows_all_of_it() {
    let Some(browser) = Browser::start() else { return };
    let server = Server::with(&["--tick", "1", "--every", "2"]);
    browser.be_a_phone();
    browser.open(&format!("http://{}/", server.address));
    browser.click("#use-sample");
    start(&browser, "region", "revenue");
    await_ready(&browser);
    browser.open(&format!("http://{}/", server.address));
    await_ready(&browser);
    for section in ["#ticks", "#history"] {
        browser.until("it is shown", |page| page.is_shown(section));
        browser.run(&format!("document.querySelector('{section}').open = true"));
    }
    let width = "return document.documentElement.scrollWidth";
    assert_eq!(browser.run(width), 360, "nothing sticks out");
    browser.run("document.querySelector('#reports').scrollIntoView()");
    browser.picture("11-phone");
}

/// Notes from now on what the page sends: to which address, and how many bytes of it are a body or
/// a file in one.
#[cfg(feature = "s3")]
const LISTEN: &str = "
    window.sent = [];
    const size = (body) => body instanceof FormData
        ? [...body.values()].reduce((sum, value) => sum + (value.size ?? value.length), 0)
        : (body?.size ?? body?.length ?? 0);
    const note = (url, body) => window.sent.push([new URL(url, location.href).href, size(body)]);
    const { open, send } = XMLHttpRequest.prototype;
    XMLHttpRequest.prototype.open = function (method, url) { open.call(this, method, this.to = url); };
    XMLHttpRequest.prototype.send = function (body) { note(this.to, body); send.call(this, body); };
    const { fetch } = window;
    window.fetch = (url, options) => { note(url, options?.body); return fetch(url, options); };";

/// To which addresses the page has sent more than a few bytes, and how many.
#[cfg(feature = "s3")]
fn sent(browser: &Browser) -> Vec<(String, u64)> {
    let sent = browser.run("return window.sent");
    let sent = sent.as_array().unwrap().iter();
    let sent = sent.map(|line| (line[0].as_str().unwrap().to_owned(), line[1].as_u64().unwrap()));
    sent.filter(|(_, size)| *size > 500).collect()
}

#[cfg(feature = "s3")]
#[test]
fn a_file_goes_straight_to_the_bucket() {
    let (Some(browser), Some(place)) = (Browser::start(), support::bucket()) else { return };
    let (server, home) = (Server::with(&["--blobs", &place]), TempDir::new().unwrap());
    let own = format!("http://{}/", server.address);
    browser.open(&own);
    browser.run(LISTEN);
    let table = Table::of_megabytes(20);
    let path = file(&home, "orders.csv", table);
    let size = fs::metadata(&path).unwrap().len();
    upload(&browser, &path);
    browser.until("it is uploaded", |page| {
        page.text("#chosen").starts_with("orders.csv: 20,000 rows")
    });
    let [(to, bytes)] = &sent(&browser)[..] else { panic!("once: {:?}", sent(&browser)) };
    assert!(!to.starts_with(&own) && *bytes >= size, "{bytes} of {size} bytes to {to}");
    start(&browser, "region", "amount");
    await_ready(&browser);
    assert_eq!(download(&browser, "region,amount"), table.totals());

    // what is wrong with the file is said, and it is not sent again
    let zip = home.path().join("archive.csv");
    fs::write(&zip, [b"PK\x03\x04".as_slice(), &vec![7; 3 << 20]].concat()).unwrap();
    upload(&browser, &zip);
    browser.until("it is refused", |page| page.is_shown("#error"));
    let error = browser.text("#error");
    assert!(error.contains("Cannot use archive.csv: this is a zip archive"), "{error}");
    assert!(sent(&browser).iter().all(|(to, _)| !to.starts_with(&own)), "{:?}", sent(&browser));
}

#[cfg(feature = "s3")]
#[test]
fn a_file_goes_through_the_server_where_the_browser_does_not_reach_the_bucket() {
    let (Some(browser), Some(place)) = (Browser::start(), support::bucket()) else { return };
    let (server, home) = (Server::with(&["--blobs", &place]), TempDir::new().unwrap());
    let own = format!("http://{}/", server.address);
    browser.open(&own);
    // its policy keeps the page from going there
    browser.run(
        "const { open } = XMLHttpRequest.prototype;
         XMLHttpRequest.prototype.open = function (method, url) {
             open.call(this, method, url.startsWith('/') ? url : 'http://bucket.invalid/');
         };",
    );
    browser.run(LISTEN);
    upload(&browser, &file(&home, "orders.csv", Table { rows: 3_000, note: 10 }));
    browser
        .until("it is uploaded", |page| page.text("#chosen").starts_with("orders.csv: 3,000 rows"));
    let sent = sent(&browser);
    assert_eq!(sent.len(), 2, "to the bucket, then to the server: {sent:?}");
    assert_eq!(sent[1].0, format!("{own}data"), "{sent:?}");
    assert!(!browser.is_shown("#error"));
}
