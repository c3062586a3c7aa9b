//! Taking what was uploaded past the server, and what is said where nothing can be: what a form
//! would have stored is put by the test. With real forms: `tests/s3.rs`.

use std::time::Duration;

use serde_json::json;
use standfast_blobstore::{Blobs, FsBlobStore};
use standfast_core::Id128;

use crate::support::table::Table;
use crate::support::visitor::Visitor;
use crate::support::{Server, eventually};

/// Does this with the files of a server.
fn files<T>(server: &Server, work: impl AsyncFnOnce(Blobs) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        work(Blobs::new(FsBlobStore::open(server.home.path().join("blobs")).await.unwrap())).await
    })
}

/// Stores an upload of a client without a session, as a form would.
fn store(server: &Server, upload: Id128, file: &[u8], keep: Duration) {
    files(server, async |blobs| {
        let put = blobs.put(format!("uploads/anybody/{upload}"), file.to_vec());
        put.content_type("text/csv").expires_in(keep).await.unwrap();
    });
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn where_there_are_no_forms_that_is_said_and_the_page_does_without() {
    for options in [&[][..], &["--blobs", "memory:"]] {
        let server = Server::with(options);
        let refused = server.post_json("/uploads", &[], &json!({ "size": 5 }));
        let words = "files are not taken this way here; send them to /data";
        assert_eq!((refused.status, &*refused.error()), (501, words));
        let page = server.get("/");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("connect-src 'self' ;"), "{policy}");
        server.upload(Table { rows: 10, note: 3 });
    }
}

#[test]
fn an_upload_is_the_same_data_however_often_it_is_taken() {
    let server = Server::start();
    let (upload, table) = (Id128::random(), Table { rows: 2_000, note: 10 });
    let take = || {
        let taken = server.post(&format!("/uploads/{upload}"), &[], b"");
        assert_eq!(taken.status, 201, "{}", taken.text());
        taken.json()
    };
    store(&server, upload, &table.text(), HOUR);
    let first = take();
    assert_eq!(first["columns"], json!(["id", "region", "amount", "note"]));
    assert_eq!(take(), first);
    // as if the server had died between the copy and the columns
    let data = first["data"].as_str().unwrap();
    let columns = format!("data/{data}/columns.json");
    files(&server, async |blobs| blobs.delete(columns).await.unwrap());
    let body = json!({ "data": data, "group_by": "region", "sum": "amount" });
    assert_eq!(server.post_json("/get_report", &[], &body).status, 400, "nobody knows it");
    assert_eq!(take(), first);
    let polls: Vec<_> = std::thread::scope(|scope| {
        let asked = [(); 4].map(|()| scope.spawn(|| (take(), server.start_report(data))));
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    for (taken, poll) in polls {
        assert_eq!(taken, first);
        assert_eq!(server.totals(&server.end_of(&poll)), table.totals());
    }
    // other bytes are other data, and change nothing about these
    store(&server, upload, b"region,amount\nNorth,1\n", HOUR);
    let second = take();
    assert_ne!(second["data"], first["data"]);
    assert_eq!(second["rows"], 1);
    let ready = server.end_of(&server.start_report(data));
    assert_eq!(server.totals(&ready), table.totals());
    assert!(server.staged().is_empty());
}

#[test]
fn an_upload_that_is_not_there_or_not_ones_own_is_not_known() {
    let server = Server::start();
    let [kept, ended] = [(); 2].map(|()| Id128::random());
    let file = Table { rows: 10, note: 3 }.text();
    store(&server, kept, &file, HOUR);
    store(&server, ended, &file, Duration::from_secs(1));
    let take = |upload: &str| server.post(&format!("/uploads/{upload}"), &[], b"");
    eventually("it has ended", || take(&ended.to_string()).status == 404);
    let mut visitor = Visitor::of(&server);
    for answer in [
        take(&Id128::random().to_string()),
        take("nothing"),
        take("..%2F..%2Fapplication%2Fsecret"),
        visitor.post(&format!("/uploads/{kept}"), &json!({})),
    ] {
        let words = "this upload is not known, or not kept any more";
        assert_eq!((answer.status, &*answer.error()), (404, words));
    }
    assert_eq!(take(&kept.to_string()).status, 201);
}

#[test]
fn what_is_no_table_stays_where_it_is() {
    let server = Server::start();
    let zip = [b"PK\x03\x04\x14\0\x08\0".as_slice(), &[7; 3 << 20]].concat();
    for (file, words) in [
        (&zip[..], "a zip archive or an Excel workbook, not a CSV file"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 values, but there are 2 columns"),
        (b"a,b\n1,\0\n", "a binary file, not a CSV file"),
    ] {
        let upload = Id128::random();
        store(&server, upload, file, HOUR);
        let refused = server.post(&format!("/uploads/{upload}"), &[], b"");
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.error().contains(words), "{}", refused.error());
    }
    assert_eq!(server.stored().len(), 3, "the uploads alone: {:?}", server.stored());
    server.assert_well();
}
