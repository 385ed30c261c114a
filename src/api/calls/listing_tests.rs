use super::super::super::types::LISTING_CAP;
use super::super::super::wire::from_json;
use super::*;
use serde_json::json;

fn folder(id: u64, text: &str) -> Result<FolderListing, ApiError> {
    let answer = from_json(text.as_bytes()).unwrap();
    folder_listing("folder/ls", own(id), FolderId(id), answer)
}

fn own(id: u64) -> Asked<'static> {
    Asked {
        folder: FolderId(id),
        user: None,
    }
}

fn files(text: &str) -> Result<FileListing, ApiError> {
    file_listing("file/ls", from_json(text.as_bytes()).unwrap())
}

/// Whirlpool of nothing, as good as any.
const HASH: &str = "19fa61d75522a4669b44e39c1d2e1726c530232130d407f89afee0964997f7a7\
    3e83be698b288febcf88e3e03c4f0757ea8964e59b63d93708b138cc42a66eb3";

#[test]
fn the_reference_s_listing_reads() {
    let listing = folder(4_100_021, &format!(
        r#"{{"status":"OK","folder_id":"4100021","name":"photos","create_date":"2025-02-03 10:11:12",
        "pass":0,"files":"1","size":12,"sub_folders":[{{"id":5,"name":"x","create_date":"","pass":"1"}}],
        "items":[{{"url":"https://1fichier.com/?aaaabbbbccccddddeeee","filename":"a.txt","size":"12",
        "date":"2025-02-03 10:12:00","checksum":"{HASH}","content-type":"text/plain","pass":0,"acl":1,
        "cdn":0,"new":{{"a":[1]}}}}]}}"#
    ))
    .unwrap();
    assert_eq!(&*listing.name, "photos");
    assert_eq!(listing.created, Some(1_738_573_872));
    assert_eq!(listing.file_count, Some(1));
    assert_eq!(listing.folders[0].id, FolderId(5));
    assert!(listing.folders[0].password && listing.folders[0].created.is_none());
    let file = &listing.files[0];
    assert_eq!((&*file.name, file.size), ("a.txt", 12));
    assert_eq!(file.uploaded, Some(1_738_573_920));
    assert_eq!(file.whirlpool.unwrap().to_string(), HASH);
    assert_eq!(file.content_type.as_deref(), Some("text/plain"));
    assert!(file.access_list && !file.password);
    assert!(!listing.is_cut());
}

#[test]
fn missing_and_null_lists_are_empty_ones() {
    for text in [
        r#"{"status":"OK","folder_id":0,"name":"Root","files":0,"size":null}"#,
        r#"{"folder_id":0,"sub_folders":null,"items":null}"#,
        r#"{"status":"OK","sub_folders":[],"items":[]}"#,
    ] {
        let listing = folder(0, text).unwrap();
        assert!(
            listing.folders.is_empty() && listing.files.is_empty(),
            "{text}"
        );
    }
    assert!(
        files(r#"{"status":"OK","count":"0"}"#)
            .unwrap()
            .files
            .is_empty()
    );
    assert!(
        files(r#"{"status":"OK","items":null}"#)
            .unwrap()
            .files
            .is_empty()
    );
}

#[test]
fn a_sub_folder_s_id_has_two_names_and_a_type_two_spellings() {
    let text = r#"{"sub_folders":[{"folder_id":"8","name":"n"}],
        "items":[{"url":"https://1fichier.com/?aaaab","filename":"f","size":1,"content_type":"x/y"}]}"#;
    let listing = folder(1, text).unwrap();
    assert_eq!(listing.folders[0].id, FolderId(8));
    assert_eq!(listing.files[0].content_type.as_deref(), Some("x/y"));
    assert_eq!(listing.files[0].whirlpool, None);
}

#[test]
fn no_damaged_entry_is_dropped_and_no_emptiness_invented() {
    let good = r#"{"url":"https://1fichier.com/?aaaab","filename":"f","size":1}"#;
    for bad in [
        r#"{"filename":"f","size":1}"#,
        r#"{"url":null,"filename":"f","size":1}"#,
        r#"{"url":"nonsense","filename":"f","size":1}"#,
        r#"{"url":"https://1fichier.com/?aaaab","size":1}"#,
        r#"{"url":"https://1fichier.com/?aaaab","filename":"f"}"#,
        r#"{"url":"https://1fichier.com/?aaaab","filename":"f","size":"many"}"#,
    ] {
        let text = format!(r#"{{"count":2,"items":[{good},{bad}]}}"#);
        let error = files(&text).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Malformed, "{bad}");
        assert!(error.detail.contains("file 1"), "{error}");
    }
    for bad in [r#"{"name":"x"}"#, r#"{"id":3}"#, r#"{"id":-3,"name":"x"}"#] {
        let text = format!(r#"{{"folder_id":0,"sub_folders":[{bad}]}}"#);
        assert_eq!(folder(0, &text).unwrap_err().kind, ErrorKind::Malformed);
    }
    for void in [
        r#"{"status":"OK"}"#,
        "{}",
        r#"{"status":"OK","message":""}"#,
    ] {
        assert_eq!(folder(0, void).unwrap_err().kind, ErrorKind::Malformed);
        assert_eq!(files(void).unwrap_err().kind, ErrorKind::Malformed);
    }
    // Another folder's listing, and entries that are no list.
    assert!(folder(1, r#"{"folder_id":2,"items":[]}"#).is_err());
    assert!(from_json::<FolderAnswer>(br#"{"folder_id":2,"items":{"0":1}}"#).is_err());
    assert!(from_json::<FolderAnswer>(br#"{"folder_id":2,"items":["x"]}"#).is_err());
}

#[test]
fn a_cut_listing_says_so() {
    let entry = r#"{"url":"https://1fichier.com/?aaaab","filename":"f","size":1}"#;
    let full = vec![entry; LISTING_CAP].join(",");
    let listing = folder(0, &format!(r#"{{"folder_id":0,"items":[{full}]}}"#)).unwrap();
    assert!(listing.is_cut());
    let fewer = folder(0, &format!(r#"{{"files":3,"items":[{entry}]}}"#)).unwrap();
    assert!(fewer.is_cut());
}

mod properties {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    proptest! {
        /// What is listed is what was sent, whatever the names.
        #[test]
        fn all_that_is_sent_is_listed(entries in prop::collection::vec(("\\PC{0,30}", any::<u64>()), 0..20)) {
            let items: Vec<Value> = entries.iter().map(|(name, size)| {
                json!({ "url": "https://1fichier.com/?abcde12345", "filename": name, "size": size.to_string() })
            }).collect();
            let text = json!({ "status": "OK", "count": items.len(), "items": items }).to_string();
            let listing = files(&text).unwrap();
            let got: Vec<(String, u64)> = listing.files.iter().map(|f| (f.name.to_string(), f.size)).collect();
            prop_assert_eq!(got, entries);
        }

        /// No JSON at all makes it panic, and only entries with a URL come out.
        #[test]
        fn no_object_panics(keys in prop::collection::vec(
            (prop::sample::select(vec!["folder_id", "items", "sub_folders", "files", "url", "count", "id"]),
             prop::sample::select(vec!["null", "0", "1", "\"1\"", "-1", "[]", "[{}]", "[null]", "{}", "1e99", "\"x\""])), 0..5)) {
            let body: Vec<String> = keys.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            let text = format!("{{{}}}", body.join(","));
            if let Ok(answer) = from_json::<FolderAnswer>(text.as_bytes()) {
                let _ = folder_listing("t", own(1), FolderId(1), answer);
            }
            if let Ok(answer) = from_json::<FileAnswer>(text.as_bytes()) {
                let _ = file_listing("t", answer);
            }
        }
    }
}

#[test]
fn what_others_share_is_listed_by_whatever_number_it_is_told() {
    let shared = |text: &str| {
        let asked = Asked {
            folder: FolderId::ROOT,
            user: Some("a@example.org"),
        };
        let folder = FolderId::shared_by("a@example.org");
        folder_listing("t", asked, folder, from_json(text.as_bytes()).unwrap())
    };
    let listing =
        shared(r#"{"folder_id":77,"user":"a@example.org","sub_folders":[{"id":78,"name":"d"}]}"#);
    let listing = listing.unwrap();
    assert_eq!(listing.folder, FolderId::shared_by("a@example.org"));
    assert_eq!(listing.folders[0].id, FolderId(78));
    let hidden = r#"{"folder_id":0,"hide_links":1,"items":[{"filename":"a","size":1,"url":""}]}"#;
    assert_eq!(shared(hidden).unwrap_err().kind, ErrorKind::NotAllowed);
    let none_hidden = r#"{"folder_id":0,"hide_links":1,"items":[]}"#;
    assert!(shared(none_hidden).is_ok());
}
