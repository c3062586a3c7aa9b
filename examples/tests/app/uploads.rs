//! Uploads, good and bad.

use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::support::Server;
use crate::support::http::Answer;
use crate::support::process::{Signal, peak_memory, signal};
use crate::support::table::Table;

fn form(field: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "--edge\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nfirst\r\n--edge\r\n\
         Content-Disposition: form-data; name=\"{field}\"; filename=\"a.csv\"\r\n\
         Content-Type: text/csv\r\n\r\n"
    );
    [head.as_bytes(), content, b"\r\n--edge--\r\n"].concat()
}

const FORM: (&str, &str) = ("Content-Type", "multipart/form-data; boundary=edge");

#[test]
fn what_is_no_table_is_refused_in_words() {
    let server = Server::start();
    let zip = [b"PK\x03\x04\x14\0\x08\0".as_slice(), &[7; 3 << 20]].concat();
    let late = [&b"a,b\n"[..], &b"1,2\n".repeat(100_000), b"1,2,3\n"].concat();
    for (what, file, words) in [
        ("an empty file", &b""[..], "the file is empty"),
        ("a byte order mark", b"\xef\xbb\xbf", "the file is empty"),
        ("no header", b"\n1,2\n", "the first line is empty"),
        ("a header only", b"region,amount\n", "no rows below"),
        ("one column", b"alone\n1\n", "the only column is \"alone\""),
        ("a ragged row", b"a,b\n1,2\n3\n", "line 3 has 1 values, but there are 2 columns"),
        ("a late ragged row", &late, "line 100002 has 3 values"),
        ("an open quote", b"a,b\n\"1,2\n3,4\n", "line 2 opens a quote"),
        ("bytes that are no text", b"a,b\ncaf\xe9,2\n", "line 2 has characters that are not UTF-8"),
        ("UTF-16", b"\xff\xfea\0,\0b\0", "UTF-16"),
        ("a zip archive", &zip, "a zip archive or an Excel workbook, not a CSV file"),
        ("a binary file", b"a,b\n1,\0\n", "a binary file, not a CSV file"),
    ] {
        let check = |answer: Answer| {
            assert_eq!(answer.status, 400, "{what}: {}", answer.text());
            assert!(answer.error().contains(words), "{what}: {}", answer.error());
        };
        check(server.post("/data", &[("Content-Type", "text/csv")], file));
        check(server.post("/data", &[FORM], &form("file", file)));
    }
    let other = server.post("/data", &[FORM], &form("other", b"a,b\n1,2\n"));
    assert_eq!((other.status, &*other.error()), (400, "the form has no field `file`"));
    server.assert_unharmed();
}

#[test]
fn quotes_across_lines_and_forms_are_fine() {
    let server = Server::start();
    let file = b"region,amount,note\n\"North\nsea\",1.50,\"a \"\"b\"\"\"\n\"North\nsea\",2,\n";
    for answer in
        [server.post("/data", &[], file), server.post("/data", &[FORM], &form("file", file))]
    {
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(answer.json()["rows"], 2);
        let poll = server.start_report(answer.json()["data"].as_str().unwrap());
        let ready = server.end_of(&poll);
        let totals = server.download(ready["totals_url"].as_str().unwrap());
        assert_eq!(totals.text(), "region,amount\n\"North\nsea\",3.50\n");
    }
}

#[test]
fn a_column_without_numbers_fails_in_words() {
    let server = Server::start();
    let data = server.post("/data", &[], b"region,amount\nNorth,1\nSouth,\"1,5\"\n").json();
    let failed = server.end_of(&server.start_report(data["data"].as_str().unwrap()));
    assert_eq!(failed["status"], "failed");
    let error = failed["error"].as_str().unwrap();
    assert!(error.starts_with("line 3: \"1,5\" in column \"amount\" is not a number"), "{error}");
    let body = json!({ "data": data["data"], "group_by": "region", "sum": "price" });
    let refused = server.post_json("/get_report", &[], &body);
    assert_eq!(refused.status, 400);
    assert!(refused.error().contains("the columns are \"region\", \"amount\""));
}

#[test]
fn a_gigabyte_without_a_line_break_is_refused_at_its_beginning() {
    let server = Server::start();
    let length = (1u64 << 30).to_string();
    let headers = [("Content-Length", &*length)];
    let piece = vec![b'x'; 1 << 20];
    // a client that looks for an answer while it sends
    let mut early = server.begin("POST", "/data", &headers);
    (0..4).for_each(|_| early.send(&piece).unwrap());
    // one that sends first, until it cannot
    let mut whole = server.begin("POST", "/data", &headers);
    let _ = (0..1024).try_for_each(|_| whole.send(&piece));
    for exchange in [early, whole] {
        let answer = exchange.answer().unwrap();
        assert_eq!(answer.status, 400);
        assert!(answer.error().contains("line 1 is longer than 1024 KiB"), "{}", answer.error());
    }
    server.assert_unharmed();
}

#[test]
fn an_upload_that_is_cut_off_leaves_nothing() {
    let server = Server::start();
    let text = Table { rows: 20_000, note: 100 }.text();
    let half = &text[..text.len() / 2];
    let length = text.len().to_string();
    let chunk = format!("{:x}\r\n", text.len());
    let form = form("file", half);
    let cut_form = &form[..form.len() - 20];
    for (headers, sent) in [
        (&[("Content-Length", &*length)][..], half.to_vec()),
        (&[("Transfer-Encoding", "chunked")], [chunk.as_bytes(), half].concat()),
        (&[FORM, ("Content-Length", &length)], cut_form.to_vec()),
    ] {
        for told in [true, false] {
            let mut exchange = server.begin("POST", "/data", headers);
            exchange.send(&sent).unwrap();
            if told {
                exchange.cut_off().unwrap();
                // hyper may close without an answer, but it must not take half for the whole
                if let Ok(answer) = exchange.answer() {
                    assert_eq!(answer.status, 400, "{}", answer.text());
                    assert!(answer.error().contains("cut off"), "{}", answer.error());
                }
            }
        }
    }
    server.assert_unharmed();
}

#[test]
fn two_hundred_megabytes_become_a_report_in_little_memory() {
    let server = Server::start();
    let table = Table::of_megabytes(200);
    let poll = server.start_report(&server.upload(table));
    let job = server.stop_job();
    signal(job, Signal::CONT);
    let mut of_job = 0;
    while let Some(peak) = peak_memory(job) {
        of_job = peak >> 20;
        sleep(Duration::from_millis(1));
    }
    assert!((1..100).contains(&of_job), "{of_job} MiB in the job");
    assert_eq!(server.totals(&server.end_of(&poll)), table.totals());
    let of_server = peak_memory(server.pid()).unwrap() >> 20;
    assert!(of_server < 200, "{of_server} MiB in the server");
}
