//! What the published tests do not ask.

use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::future::join_all;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, Extensions, GetOptions, GetRange, ObjectStore,
    ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, TagSet,
    UpdateVersion,
};
use standfast_blobstore::{BlobMeta, Crc64, Expiry, Reason};

async fn listed(store: &dyn ObjectStore) -> Vec<String> {
    let all: Vec<_> = store.list(None).try_collect().await.unwrap();
    all.into_iter().map(|object| object.location.to_string()).collect()
}

async fn read(store: &dyn ObjectStore, path: &str) -> Bytes {
    store.get(&Path::from(path)).await.unwrap().bytes().await.unwrap()
}

pub(crate) async fn nothing_is_added_to_attributes(store: &dyn ObjectStore) {
    let path = Path::from("page.html");
    store.put(&path, "<p>".into()).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().attributes, Attributes::new());
    let empty = Attributes::from_iter([(Attribute::Metadata("nothing".into()), "")]);
    store.put_opts(&path, "<p>".into(), empty.clone().into()).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().attributes, empty);
    store.copy(&path, &Path::from("copy")).await.unwrap();
    assert_eq!(store.get(&Path::from("copy")).await.unwrap().attributes, empty);
}

pub(crate) async fn what_could_not_come_back_is_refused(store: &dyn ObjectStore) {
    let path = Path::from("a");
    let mut tags = TagSet::default();
    tags.push("colour", "red");
    let metadata =
        |name: &'static str, value: &'static str| (Attribute::Metadata(name.into()), value);
    let unsupported = [
        PutOptions::from(tags),
        Attributes::from_iter([(Attribute::StorageClass, "COLD")]).into(),
        PutMode::Update(UpdateVersion { e_tag: Some("1".into()), version: Some("1".into()) })
            .into(),
    ];
    for options in unsupported {
        let refused = store.put_opts(&path, "1".into(), options).await;
        assert!(matches!(refused, Err(Error::NotSupported { .. })), "{refused:?}");
    }
    let lossy = [metadata("Rows", "7"), metadata("rows", " 7"), metadata("rows", "é")];
    for attribute in lossy {
        let attributes = Attributes::from_iter([attribute]);
        let refused = store.put_opts(&path, "1".into(), attributes.clone().into()).await;
        assert!(matches!(refused, Err(Error::Generic { .. })), "{refused:?}");
        let refused = store.put_multipart_opts(&path, attributes.into()).await;
        assert!(matches!(refused, Err(Error::Generic { .. })), "{refused:?}");
    }
    let nameless = PutMode::Update(UpdateVersion { e_tag: None, version: None });
    let refused = store.put_opts(&path, "1".into(), nameless.into()).await;
    assert!(matches!(refused, Err(Error::Generic { .. })), "{refused:?}");
    assert_eq!(listed(store).await, [""; 0]);
    store.put(&path, "1".into()).await.unwrap();
    let older = GetOptions::new().with_version(Some("1"));
    let refused = store.get_opts(&path, older).await;
    assert!(matches!(refused, Err(Error::NotSupported { .. })), "{refused:?}");
}

pub(crate) async fn under_what_is_no_key_there_is_nothing(store: &dyn ObjectStore) {
    for text in ["", ".standfast/a", &"k".repeat(256)] {
        let path = Path::parse(text).unwrap();
        let missing = store.get(&path).await;
        assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
        let missing = store.delete(&path).await;
        assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
        let Err(Error::Generic { source, .. }) = store.put(&path, "1".into()).await else {
            panic!("stored under {text:?}");
        };
        let ours = source.downcast_ref::<standfast_blobstore::Error>().unwrap();
        assert_eq!(ours.reason(), Some(Reason::InvalidName));
    }
    assert_eq!(listed(store).await, [""; 0]);
}

/// Whatever their sizes, and in whichever order their futures are polled.
pub(crate) async fn parts_are_stored_in_the_order_of_their_calls(store: &dyn ObjectStore) {
    let path = Path::from("parts");
    let attributes = Attributes::from_iter([(Attribute::ContentType, "text/plain")]);
    let options = PutMultipartOptions::from(attributes.clone());
    let mut upload = store.put_multipart_opts(&path, options).await.unwrap();
    let sizes = [1, 0, 300_000, 6_000_000, 7, 2_000_000, 12_000_000, 5];
    let payloads: Vec<PutPayload> = sizes
        .into_iter()
        .zip(b'a'..)
        .map(|(size, letter)| match size {
            0 => PutPayload::new(),
            1 => PutPayload::from_iter([Bytes::new(), Bytes::from(vec![letter]), Bytes::new()]),
            _ => [size / 3, size - size / 3]
                .map(|len| Bytes::from(vec![letter; len]))
                .into_iter()
                .collect(),
        })
        .collect();
    let expected: Vec<u8> =
        payloads.iter().flat_map(|part| part.iter().flatten().copied()).collect();
    let mut parts: Vec<_> = payloads.into_iter().map(|part| upload.put_part(part)).collect();
    for part in parts.split_off(5).into_iter().rev() {
        part.await.unwrap();
    }
    for part in join_all(parts).await {
        part.unwrap();
    }
    let put = upload.complete().await.unwrap();
    let found = store.get(&path).await.unwrap();
    assert_eq!((&found.meta.e_tag, &found.attributes), (&put.e_tag, &attributes));
    assert_eq!(upload.complete().await.unwrap().e_tag, put.e_tag, "it is known what became of it");
    assert!(upload.put_part("late".into()).await.is_err());
    assert!(upload.abort().await.is_err());
    assert!(found.bytes().await.unwrap() == expected);

    let mut empty = store.put_multipart(&path).await.unwrap();
    empty.complete().await.unwrap();
    assert_eq!(read(store, "parts").await, "");
}

/// However far it came: what was there stays, and the parts' futures end.
pub(crate) async fn an_upload_that_is_given_up_leaves_nothing(store: &dyn ObjectStore) {
    let (old, new) = (Path::from("old"), Path::from("new"));
    store.put(&old, "old".into()).await.unwrap();
    for path in [&old, &new] {
        for len in [0, 3, 20_000_000] {
            let mut aborted = store.put_multipart(path).await.unwrap();
            let mut dropped = store.put_multipart(path).await.unwrap();
            if len > 0 {
                aborted.put_part(vec![7; len].into()).await.unwrap();
                dropped.put_part(vec![7; len].into()).await.unwrap();
            }
            let late = dropped.put_part("more".into());
            drop(dropped);
            aborted.abort().await.unwrap();
            assert!(aborted.put_part("more".into()).await.is_err());
            assert!(aborted.complete().await.is_err());
            // It may have been taken before the end was seen, but it ends.
            _ = late.await;
        }
    }
    assert_eq!(listed(store).await, ["old"]);
    assert_eq!(read(store, "old").await, "old");
}

/// Its caller may have sent it again.
pub(crate) async fn a_part_that_nobody_waited_for_spoils_the_upload(store: &dyn ObjectStore) {
    let path = Path::from("torn");
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part("one".into()).await.unwrap();
    drop(upload.put_part("two".into()));
    upload.put_part("two".into()).await.unwrap();
    assert!(upload.complete().await.is_err());
    assert!(upload.complete().await.is_err());
    upload.abort().await.unwrap();
    assert_eq!(listed(store).await, [""; 0]);
}

pub(crate) async fn every_condition_of_a_read_is_held(store: &dyn ObjectStore) {
    let path = Path::from("a");
    store.put(&path, "0123456789".into()).await.unwrap();
    let meta = store.head(&path).await.unwrap();
    let (tag, at) = (meta.e_tag.clone().unwrap(), meta.last_modified);
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    let (before, after) = (at - TimeDelta::hours(1), at + TimeDelta::hours(1));
    let new = GetOptions::new;
    let table = [
        (new().with_if_match(Some("*")), 200),
        (new().with_if_match(Some(format!("\"other\", {tag}"))), 200),
        (new().with_if_match(Some("\"other\", \"another\"")), 412),
        (new().with_if_match(Some(format!("W/{tag}"))), 412),
        (new().with_if_match(Some("")), 412),
        (new().with_if_none_match(Some("*")), 304),
        (new().with_if_none_match(Some(format!("\"other\",{tag}"))), 304),
        (new().with_if_none_match(Some("\"other\", \"another\"")), 200),
        (new().with_if_match(Some(&tag)).with_if_none_match(Some(&tag)), 304),
        (new().with_if_match(Some("\"other\"")).with_if_none_match(Some(&tag)), 412),
        (new().with_if_unmodified_since(Some(at)), 200),
        (new().with_if_unmodified_since(Some(before)), 412),
        (new().with_if_modified_since(Some(at)), 304),
        (new().with_if_modified_since(Some(before)), 200),
        // A date does not count where there is an ETag.
        (new().with_if_match(Some(&tag)).with_if_unmodified_since(Some(before)), 200),
        (new().with_if_match(Some("*")).with_if_unmodified_since(Some(before)), 200),
        (new().with_if_none_match(Some("\"other\"")).with_if_modified_since(Some(after)), 200),
        (new().with_if_none_match(Some(&tag)).with_if_modified_since(Some(before)), 304),
    ];
    for (options, status) in table {
        for head in [false, true] {
            for range in [None, Some(GetRange::Bounded(2..4))] {
                let options = options.clone().with_head(head).with_range(range.clone());
                let shown = format!("{options:?}");
                let answer = store.get_opts(&path, options).await;
                let found = match &answer {
                    Ok(_) => 200,
                    Err(Error::Precondition { .. }) => 412,
                    Err(Error::NotModified { .. }) => 304,
                    Err(error) => panic!("{shown}: {error}"),
                };
                assert_eq!(found, status, "{shown}");
                let Ok(found) = answer else { continue };
                assert_eq!(found.range, if range.is_some() { 2..4 } else { 0..10 });
                let expected = match (head, range.is_some()) {
                    (true, _) => "",
                    (_, true) => "23",
                    (_, false) => "0123456789",
                };
                let pieces: Vec<_> = found.into_stream().try_collect().await.unwrap();
                assert_eq!(pieces.concat(), expected.as_bytes(), "{shown}");
            }
        }
    }
    let missing = store.get_opts(&Path::from("b"), new().with_if_match(Some("*"))).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })));
}

#[allow(clippy::reversed_empty_ranges, reason = "it is refused")]
pub(crate) async fn ranges_are_those_of_object_store(store: &dyn ObjectStore) {
    store.put(&Path::from("a"), "0123456789".into()).await.unwrap();
    store.put(&Path::from("empty"), "".into()).await.unwrap();
    let table = [
        ("a", GetRange::Bounded(0..10), Some("0123456789")),
        ("a", GetRange::Bounded(8..99), Some("89")),
        ("a", GetRange::Bounded(5..5), None),
        ("a", GetRange::Bounded(5..4), None),
        ("a", GetRange::Bounded(10..11), None),
        ("a", GetRange::Offset(9), Some("9")),
        ("a", GetRange::Offset(10), None),
        ("a", GetRange::Suffix(0), Some("")),
        ("a", GetRange::Suffix(99), Some("0123456789")),
        ("empty", GetRange::Suffix(1), Some("")),
        ("empty", GetRange::Offset(0), None),
    ];
    for (path, range, expected) in table {
        let shown = format!("{range:?} of {path}");
        let options = GetOptions::new().with_range(Some(range));
        let read = match store.get_opts(&Path::from(path), options).await {
            Ok(found) => Some(found.bytes().await.unwrap()),
            Err(Error::Generic { .. }) => None,
            Err(error) => panic!("{shown}: {error}"),
        };
        assert_eq!(read.as_deref(), expected.map(str::as_bytes), "{shown}");
    }
    let both = store.get_ranges(&Path::from("a"), &[8..10, 0..2]).await.unwrap();
    assert_eq!(both, ["89", "01"]);
    assert!(store.get_ranges(&Path::from("a"), &[0..1, 40..41]).await.is_err());
}

/// Onto itself, onto what is there, of what is not there.
pub(crate) async fn renames_lose_nothing(store: &dyn ObjectStore) {
    let [a, b, none] = ["a", "b", "none"].map(Path::from);
    store.put(&a, "1".into()).await.unwrap();
    store.rename(&a, &a).await.unwrap();
    store.copy(&a, &a).await.unwrap();
    assert_eq!(read(store, "a").await, "1");
    let refused = store.rename_if_not_exists(&a, &a).await;
    assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{refused:?}");
    let refused = store.rename(&none, &none).await;
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
    store.put(&b, "2".into()).await.unwrap();
    let refused = store.rename_if_not_exists(&a, &b).await;
    assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{refused:?}");
    assert_eq!((read(store, "a").await, read(store, "b").await), ("1".into(), "2".into()));
    store.rename_if_not_exists(&a, &Path::from("c/d")).await.unwrap();
    assert_eq!(listed(store).await, ["b", "c/d"]);
    assert_eq!(read(store, "c/d").await, "1");
}

/// Also those that could not be asked for; and each at once, if somebody waits for it.
pub(crate) async fn deletes_answer_in_order(store: &dyn ObjectStore) {
    let wanted: Vec<_> = (0..40).map(|at| Path::from(format!("d/{at:02}"))).collect();
    for path in &wanted {
        store.put(path, "1".into()).await.unwrap();
    }
    let mut asked: Vec<_> = wanted[..38].iter().cloned().map(Ok).collect();
    asked.insert(7, Err(Error::Generic { store: "test", source: "cut".into() }));
    asked.insert(20, Ok(Path::from(".standfast")));
    let answers: Vec<_> = store.delete_stream(stream::iter(asked).boxed()).collect().await;
    assert_eq!(answers.len(), 40);
    assert!(matches!(answers[7], Err(Error::Generic { .. })));
    assert!(matches!(answers[20], Err(Error::NotFound { .. })));
    let gone: Vec<_> = answers.into_iter().flatten().collect();
    assert_eq!(gone, wanted[..38]);
    assert_eq!(listed(store).await, ["d/38", "d/39"]);

    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let asked = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|path| (Ok(path), receiver))
    });
    let mut answers = store.delete_stream(asked.boxed());
    for path in &wanted[38..] {
        assert!(answers.next().now_or_never().is_none(), "nobody asked yet");
        sender.send(path.clone()).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(60), answers.next()).await;
        assert_eq!(answer.expect("nothing else is waited for").unwrap().unwrap(), *path);
    }
    drop(sender);
    assert!(answers.next().await.is_none());
    assert_eq!(listed(store).await, [""; 0]);
}

pub(crate) async fn extensions_carry_the_rest(store: &dyn ObjectStore) {
    let path = Path::from("tmp/a");
    let mut extensions = Extensions::new();
    extensions.insert(Expiry::In(Duration::from_secs(3600)));
    let options = PutOptions { extensions: extensions.clone(), ..PutOptions::default() };
    let put = store.put_opts(&path, "1".into(), options).await.unwrap();
    let expires = |extensions: &Extensions| extensions.get::<BlobMeta>().unwrap().expires_at;
    assert!(expires(&put.extensions).is_some());
    let found = store.get(&path).await.unwrap();
    assert_eq!(expires(&found.extensions), expires(&put.extensions));
    assert_eq!(found.extensions.get::<BlobMeta>().unwrap().crc64, Some(Crc64::of(b"1")));
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    for tag in [&put.e_tag, &found.meta.e_tag, &listed[0].e_tag] {
        let same = GetOptions::new().with_if_match(tag.clone()).with_head(true);
        store.get_opts(&path, same).await.unwrap();
    }
    let options = PutMultipartOptions { extensions, ..PutMultipartOptions::default() };
    let mut upload = store.put_multipart_opts(&path, options).await.unwrap();
    assert!(expires(&upload.complete().await.unwrap().extensions).is_some());
    store.put(&path, "2".into()).await.unwrap();
    assert_eq!(expires(&store.get(&path).await.unwrap().extensions), None);
}
