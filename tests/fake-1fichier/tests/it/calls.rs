//! Folders, files, user (API reference 5).

use fake_1fichier::{
    DuplicateFolder, EmptyArrays, Fake, FolderMvBoth, FolderRm, KoStatus, SameFolderMv,
};
use serde_json::{Value, json};

use crate::client::{Answer, authority, call, raw};

fn start() -> Fake {
    Fake::builder().start().expect("a fake")
}

fn folder_id(answer: &Answer) -> u64 {
    assert!(answer.is_ok(), "{}", answer.text());
    answer.json()["folder_id"].as_u64().expect("an id")
}

#[test]
fn listing_of_folders_and_files() {
    let fake = start();
    let photos = fake.account().mkdir(0, "photos");
    let url = fake
        .account()
        .add_bytes(photos, "a.txt", &b"Hello world\n"[..]);
    fake.account().set_date(&url, "2025-02-03 10:12:00");

    let root = call(&fake, "folder/ls", &json!({})).json();
    assert_eq!(
        (&root["name"], &root["files"], &root["size"]),
        (&json!("Root"), &json!(0), &Value::Null)
    );
    assert_eq!(root["sub_folders"][0]["id"], photos);
    assert!(root.get("items").is_none());

    let list = call(
        &fake,
        "folder/ls",
        &json!({ "folder_id": photos, "files": 1 }),
    )
    .json();
    assert_eq!((&list["files"], &list["size"]), (&json!(1), &json!(12)));
    let item = &list["items"][0];
    assert_eq!(
        (&item["url"], &item["filename"]),
        (&json!(url), &json!("a.txt"))
    );
    assert_eq!(
        (&item["date"], &item["content-type"]),
        (&json!("2025-02-03 10:12:00"), &json!("text/plain"))
    );
    assert!(
        item["checksum"]
            .as_str()
            .is_some_and(|c| c.starts_with("0a894ff0"))
    );

    let files = call(&fake, "file/ls", &json!({ "folder_id": photos })).json();
    assert_eq!(
        (&files["count"], &files["items"][0]["url"]),
        (&json!(1), &json!(url))
    );
    assert!(fake.violations().is_empty(), "{:?}", fake.violations());
}

#[test]
fn empty_arrays_come_in_three_forms() {
    let fake = start();
    let mut forms = Vec::new();
    for form in [EmptyArrays::Absent, EmptyArrays::Null, EmptyArrays::Empty] {
        fake.set_config(|c| c.empty_arrays = form);
        let list = call(&fake, "file/ls", &json!({})).json();
        forms.push(list.get("items").cloned());
    }
    assert_eq!(forms, [None, Some(Value::Null), Some(json!([]))]);
}

#[test]
fn dates_narrow_a_listing_and_the_cap_cuts_it() {
    let fake = Fake::builder()
        .config(|c| c.listing_cap = 5)
        .start()
        .expect("a fake");
    for day in 1..=7 {
        let url = fake.account().add_bytes(0, &format!("{day}"), vec![1]);
        fake.account()
            .set_date(&url, &format!("2025-01-0{day} 00:00:00"));
    }
    let whole = call(&fake, "file/ls", &json!({})).json();
    assert_eq!(whole["count"], 5);
    let some = json!({ "sent_after": "2025-01-02 00:00:00", "sent_before": "2025-01-05 00:00:00" });
    assert_eq!(call(&fake, "file/ls", &some).json()["count"], 2);
    let all = call(&fake, "folder/ls", &json!({ "files": 1 })).json();
    assert_eq!(
        (&all["files"], all["items"].as_array().map(Vec::len)),
        (&json!(7), Some(5))
    );
    let account = call(
        &fake,
        "file/ls",
        &json!({ "folder_id": -1, "sent_after": "2025-01-05 12:00:00" }),
    )
    .json();
    assert_eq!(account["count"], 2);
}

#[test]
fn folders_are_made_moved_and_removed() {
    let fake = start();
    let a = folder_id(&call(&fake, "folder/mkdir", &json!({ "name": "a" })));
    let b = folder_id(&call(
        &fake,
        "folder/mkdir",
        &json!({ "name": "b", "folder_id": a }),
    ));
    assert!(!call(&fake, "folder/mkdir", &json!({ "name": "a" })).is_ok());
    assert!(!call(&fake, "folder/mkdir", &json!({ "name": "a/b" })).is_ok());
    assert!(!call(&fake, "folder/mkdir", &json!({})).is_ok());
    assert_eq!(
        call(
            &fake,
            "folder/mkdir",
            &json!({ "name": "x", "folder_id": 99 })
        )
        .status,
        404
    );
    fake.set_config(|c| c.duplicate_folder = DuplicateFolder::Existing);
    assert_eq!(
        folder_id(&call(&fake, "folder/mkdir", &json!({ "name": "a" }))),
        a
    );

    // Into itself, to its own place, and out to the root.
    let mv = |params: Value| call(&fake, "folder/mv", &params);
    assert!(!mv(json!({ "folder_id": a, "destination_folder_id": b })).is_ok());
    assert!(!mv(json!({ "folder_id": b, "destination_folder_id": a })).is_ok());
    assert!(mv(json!({ "folder_id": b, "destination_folder_id": 0 })).is_ok());
    assert_eq!(fake.account().folder_at("b"), Some(b));
    // With a name the destination is ignored, unless the switch says otherwise.
    assert!(mv(json!({ "folder_id": b, "destination_folder_id": a, "rename": "c" })).is_ok());
    assert_eq!(fake.account().folder_at("c"), Some(b));
    fake.set_config(|c| c.folder_mv_both = FolderMvBoth::Both);
    assert!(mv(json!({ "folder_id": b, "destination_folder_id": a, "rename": "d" })).is_ok());
    assert_eq!(fake.account().folder_at("a/d"), Some(b));

    assert!(!call(&fake, "folder/rm", &json!({ "folder_id": a })).is_ok());
    fake.set_config(|c| c.folder_rm = FolderRm::Recursive);
    assert!(call(&fake, "folder/rm", &json!({ "folder_id": a })).is_ok());
    assert_eq!(fake.account().tree().len(), 1);
    assert!(!call(&fake, "folder/rm", &json!({ "folder_id": 0 })).is_ok());
}

#[test]
fn files_are_renamed_moved_copied_and_removed() {
    let fake = start();
    let account = fake.account();
    let dir = account.mkdir(0, "dir");
    let url = account.add_bytes(0, "a.txt", &b"content"[..]);
    let rename = |name: &str| {
        call(
            &fake,
            "file/rename",
            &json!({ "urls": [{ "url": url, "filename": name }] }),
        )
    };
    let same = rename("a.txt");
    assert_eq!(same.status, 200);
    assert!(same.message().contains("No file has been renamed"));
    assert!(!rename("it's").is_ok());
    let done = rename("b.txt").json();
    let item = &done["urls"][0];
    assert_eq!(
        (
            &done["renamed"],
            &item["old_filename"],
            &item["new_filename"]
        ),
        (&json!(1), &json!("a.txt"), &json!("b.txt"))
    );

    let mv = |to: u64, rename: Option<&str>| {
        let mut params = json!({ "urls": [url], "destination_folder_id": to });
        if let Some(name) = rename {
            params["rename"] = json!(name);
        }
        call(&fake, "file/mv", &params)
    };
    assert!(!mv(0, None).is_ok());
    // Inside one folder the new name is ignored though the answer is OK.
    assert!(mv(0, Some("c.txt")).is_ok());
    assert_eq!(account.file(&url).expect("kept").name, "b.txt");
    fake.set_config(|c| c.same_folder_mv = SameFolderMv::Refuse);
    assert!(!mv(0, Some("c.txt")).is_ok());
    assert!(!mv(dir, Some("b.txt")).is_ok());
    assert_eq!(mv(dir, Some("c.txt")).json()["moved"], 1);
    assert_eq!(
        account.file(&url).map(|f| (f.folder, f.name)),
        Some((dir, "c.txt".to_owned()))
    );

    let copied = call(
        &fake,
        "file/cp",
        &json!({ "urls": [url], "destination_folder_id": dir }),
    )
    .json();
    let copy = copied["urls"][0]["to_url"].as_str().expect("a URL");
    assert_eq!(
        account.file(copy).expect("copied").folder,
        0,
        "the wrong field lands in the root"
    );
    assert_ne!(copy, url);
    assert_eq!(account.read_all(copy).as_deref(), Some(&b"content"[..]));

    fake.set_config(|c| c.move_changes_url = true);
    let moved = call(
        &fake,
        "file/mv",
        &json!({ "urls": [copy], "destination_folder_id": dir }),
    )
    .json();
    let new = moved["urls"][0].as_str().expect("a URL");
    assert!(new != copy && account.file(copy).is_none() && account.file(new).is_some());

    let files = json!({ "files": [{ "url": url }, { "url": new }] });
    assert_eq!(call(&fake, "file/rm", &files).json()["removed"], 2);
    assert_eq!(call(&fake, "file/rm", &files).status, 404);
}

#[test]
fn info_and_attributes() {
    let fake = start();
    let dir = fake.account().mkdir_p("x/y");
    let url = fake.account().add_bytes(dir, "a.mkv", vec![1, 2, 3]);
    let info = call(&fake, "file/info", &json!({ "url": url })).json();
    assert_eq!(
        (&info["path"], &info["folder_id"], &info["size"]),
        (&json!("x/y"), &json!(dir), &json!(3))
    );
    assert_eq!(info["content-type"], "video/x-matroska");
    let chattr = json!({ "urls": [url], "description": "mtime=1" });
    assert_eq!(call(&fake, "file/chattr", &chattr).json()["updated"], 1);
    assert!(
        call(&fake, "file/chattr", &chattr)
            .message()
            .contains("No changes requested")
    );
    assert_eq!(
        call(&fake, "file/info", &json!({ "url": url })).json()["description"],
        "mtime=1"
    );
    assert_eq!(
        call(
            &fake,
            "file/info",
            &json!({ "url": "https://1fichier.com/?unknown00" })
        )
        .status,
        404
    );
    assert_eq!(
        call(&fake, "file/info", &json!({ "url": format!("{url}&af=1") })).status,
        404
    );
    assert!(call(&fake, "file/scan", &json!({ "url": url })).is_ok());
    fake.account().infect(&url);
    call(&fake, "file/scan", &json!({ "url": url }));
    assert!(fake.account().file(&url).is_none());
}

#[test]
fn user_info_speaks_in_strings() {
    let fake = start();
    fake.account().add_synthetic(0, "big", 1_000_000, 1);
    let info = call(&fake, "user/info", &json!({})).json();
    assert_eq!(
        (&info["offer"], &info["cold_storage"]),
        (&json!("1"), &json!(1_000_000))
    );
    assert_eq!(
        info["available_cold_storage"],
        2_000_000_000_000_u64 - 1_000_000
    );
    fake.set_config(|c| c.user_info_strings = false);
    assert_eq!(
        call(&fake, "user/info", &json!({ "ftp_mode": 1 })).json()["offer"],
        1
    );
    let last = fake.log().pop().expect("an entry");
    assert_eq!(last.notes, ["changes_account: ftp_mode"]);
    assert_eq!(fake.violations()[0].rule, "user_info");
}

#[test]
fn headers_and_bodies_are_checked() {
    let fake = start();
    let (host, key) = (authority(&fake), fake.key());
    let ask = |method: &str, headers: &str, body: &str| {
        let length = body.len();
        let text = format!(
            "{method} /v1/folder/ls.cgi HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        );
        raw(&fake, text.as_bytes()).expect("an answer")
    };
    let bearer = format!("Authorization: Bearer {key}\r\n");
    let json = "Content-Type: application/json\r\n";
    assert!(ask("POST", &format!("{bearer}{json}"), "").is_ok());
    assert!(
        ask("POST", &bearer, "{}")
            .message()
            .contains("Content-Type not JSON")
    );
    assert!(
        ask("POST", json, "{}")
            .message()
            .contains("Not authenticated")
    );
    let wrong = ask(
        "POST",
        &format!("Authorization: Bearer wrong\r\n{json}"),
        "{}",
    );
    assert_eq!(
        (wrong.status, wrong.message().contains("No such user")),
        (403, true)
    );
    assert_eq!(ask("GET", &format!("{bearer}{json}"), "").status, 405);
    for bad in ["[]", "{", "\"x\"", "{\"folder_id\":\"0\"}", "{\"files\":2}"] {
        assert!(
            !ask("POST", &format!("{bearer}{json}"), bad).is_ok(),
            "{bad}"
        );
    }
    fake.set_config(|c| c.refuse_unicode_escapes = true);
    assert!(!ask("POST", &format!("{bearer}{json}"), "{\"x\":\"\\u0041\"}").is_ok());
    assert_eq!(call(&fake, "folder/list", &json!({})).status, 404);
    fake.account().change_key("new");
    assert!(!ask("POST", &format!("{bearer}{json}"), "{}").is_ok());
}

#[test]
fn refusals_come_with_any_status() {
    let fake = Fake::builder()
        .config(|c| c.ko_status = KoStatus::Alternate)
        .start()
        .expect("a fake");
    let mut seen: Vec<u16> = (0..2)
        .map(|_| call(&fake, "folder/mkdir", &json!({ "name": "" })).status)
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [200, 403]);
}

#[test]
fn a_backslash_breaks_the_json_of_its_folder() {
    let fake = start();
    fake.account().add_bytes(0, "a\\q c.txt", vec![1]);
    let answer = call(&fake, "file/ls", &json!({}));
    assert!(serde_json::from_slice::<Value>(&answer.body).is_err());
    assert!(answer.text().contains("a\\q c.txt"));
}

#[test]
fn deleted_and_new_files_lag_in_listings() {
    let fake = Fake::builder()
        .config(|c| (c.appear_delay_seconds, c.vanish_delay_seconds) = (60.0, 60.0))
        .start()
        .expect("a fake");
    let dir = fake.account().mkdir(0, "dir");
    let url = fake.account().add_bytes(dir, "a", vec![1]);
    let count =
        |id: u64| call(&fake, "file/ls", &json!({ "folder_id": id })).json()["count"].clone();
    assert!(call(&fake, "file/cp", &json!({ "urls": [url], "folder_id": 0 })).is_ok());
    assert_eq!(count(0), 0);
    assert!(call(&fake, "file/rm", &json!({ "files": [{ "url": url }] })).is_ok());
    assert_eq!(count(dir), 1);
    assert_eq!(call(&fake, "file/info", &json!({ "url": url })).status, 404);
    assert!(!call(&fake, "folder/rm", &json!({ "folder_id": dir })).is_ok());
    fake.clock().advance(std::time::Duration::from_secs(61));
    assert_eq!((count(0), count(dir)), (json!(1), json!(0)));
    assert!(call(&fake, "folder/rm", &json!({ "folder_id": dir })).is_ok());
}

#[test]
fn removed_and_moved_folders_lag_in_listings_when_told_to() {
    let fake = Fake::builder()
        .config(|c| c.folder_vanish_delay_seconds = 60.0)
        .start()
        .expect("a fake");
    let [dir, to] = ["dir", "to"].map(|name| fake.account().mkdir(0, name));
    let [gone, moved] = ["gone", "moved"].map(|name| fake.account().mkdir(dir, name));
    let count = |id: u64| {
        let listing = call(&fake, "folder/ls", &json!({ "folder_id": id })).json();
        listing["sub_folders"].as_array().map_or(0, Vec::len)
    };
    assert!(call(&fake, "folder/rm", &json!({ "folder_id": gone })).is_ok());
    let mv = json!({ "folder_id": moved, "destination_folder_id": to });
    assert!(call(&fake, "folder/mv", &mv).is_ok());
    assert_eq!((count(dir), count(to)), (2, 1));
    // Nothing is in it.
    fake.clock().advance(std::time::Duration::from_secs(61));
    assert_eq!((count(dir), count(to)), (0, 1));
    // What comes back is there once.
    let back = json!({ "folder_id": moved, "destination_folder_id": dir });
    assert!(call(&fake, "folder/mv", &back).is_ok());
    assert!(call(&fake, "folder/mv", &mv).is_ok());
    assert!(call(&fake, "folder/mv", &back).is_ok());
    assert_eq!((count(dir), count(to)), (1, 1));
}

#[test]
fn a_shared_folder_has_a_public_listing() {
    let fake = start();
    let dir = fake.account().mkdir(0, "dir");
    let url = fake.account().add_bytes(dir, "a", vec![1; 7]);
    let link = call(
        &fake,
        "folder/share",
        &json!({ "folder_id": dir, "share": 1 }),
    )
    .json();
    let link = link["url"]
        .as_str()
        .expect("a link")
        .trim_start_matches("https://1fichier.com")
        .to_owned();
    let items = crate::client::get(&fake, "GET", &format!("{link}?json=1"), "")
        .expect("an answer")
        .json();
    assert_eq!(items, json!([{ "filename": "a", "link": url, "size": 7 }]));
    assert!(
        call(
            &fake,
            "folder/share",
            &json!({ "folder_id": dir, "share": 0 })
        )
        .is_ok()
    );
    assert_eq!(
        crate::client::get(&fake, "GET", &format!("{link}?json=1"), "")
            .expect("an answer")
            .status,
        404
    );
}

#[test]
fn remote_uploads_happen_later() {
    let fake = start();
    let id = call(
        &fake,
        "remote/request",
        &json!({ "urls": ["http://example.com/a.iso"] }),
    )
    .json()["id"]
        .clone();
    assert_eq!(
        call(&fake, "remote/ls", &json!({})).json()["data"][0]["execution_date"],
        ""
    );
    fake.clock().advance(std::time::Duration::from_secs(61));
    let info = call(&fake, "remote/info", &json!({ "id": id })).json();
    let url = info["result"][0]["download_link"].as_str().expect("a link");
    assert_eq!(fake.account().file(url).expect("there").name, "a.iso");
}

#[test]
fn remote_uploads_fail_one_by_one_and_headers_are_checked() {
    let fake = start();
    let ask = |headers: Value| {
        let urls = ["http://example.com/a.iso", "http://nowhere.invalid:8080/b"];
        call(
            &fake,
            "remote/request",
            &json!({ "urls": urls, "headers": headers }),
        )
    };
    for wrong in [
        json!([]),
        json!({ "A_b": "x" }),
        json!({ "A": "x;y" }),
        json!({ "A": 1 }),
    ] {
        assert!(ask(wrong).message().contains("headers"));
    }
    let id = ask(json!({ "X-Token": "a=1" })).json()["id"].clone();
    fake.clock().advance(std::time::Duration::from_secs(61));
    let info = call(&fake, "remote/info", &json!({ "id": id })).json();
    let [good, bad] = [&info["result"][0], &info["result"][1]];
    assert_eq!(
        (&good["status"], &bad["status"]),
        (&json!("OK"), &json!("KO"))
    );
    assert_eq!(bad["download_link"], "");
}

#[test]
fn files_of_others_are_read_with_their_password_and_not_changed() {
    let fake = start();
    let url = fake
        .account()
        .add_foreign("theirs.txt", &b"theirs"[..], "secret6");
    let info = |pass: Value| call(&fake, "file/info", &json!({ "url": url, "pass": pass }));
    assert!(
        info(json!(""))
            .message()
            .starts_with("Password not provided")
    );
    assert!(
        info(json!("wrong!"))
            .message()
            .starts_with("Invalid password")
    );
    let told = info(json!("secret6")).json();
    assert_eq!(
        (&told["filename"], &told["pass"]),
        (&json!("theirs.txt"), &json!(1))
    );
    assert!(told.get("folder_id").is_none() && told.get("path").is_none());
    let token = json!({ "url": url, "pass": "secret6" });
    assert!(!call(&fake, "download/get_token", &json!({ "url": url })).is_ok());
    assert!(call(&fake, "download/get_token", &token).is_ok());
    // It is in no listing and cannot be changed.
    let all = call(&fake, "file/ls", &json!({ "folder_id": -1 })).json();
    assert_eq!(all["count"], 0);
    let chattr = json!({ "urls": [url], "description": "mine" });
    assert!(
        call(&fake, "file/chattr", &chattr)
            .message()
            .contains("not allowed")
    );
    assert!(!call(&fake, "file/rm", &json!({ "files": [{ "url": url }] })).is_ok());
    let copy = |pass: &str| {
        call(
            &fake,
            "file/cp",
            &json!({ "urls": [url], "folder_id": 0, "pass": pass }),
        )
    };
    assert!(!copy("").is_ok() && copy("secret6").is_ok());
    assert_eq!(fake.account().files_at("theirs.txt").len(), 1);
}

#[test]
fn a_switch_wants_the_password_of_own_files_too() {
    let fake = start();
    let url = fake.account().add_bytes(0, "a", vec![1]);
    fake.account().set_pass(&url, "secret6");
    let token = |pass: &str| {
        call(
            &fake,
            "download/get_token",
            &json!({ "url": url, "pass": pass }),
        )
    };
    assert!(token("").is_ok());
    fake.set_config(|c| c.own_files_need_password = true);
    assert!(token("").message().starts_with("Password not provided"));
    assert!(token("secret6").is_ok());
}

#[test]
fn what_others_share_is_listed_by_their_address_and_not_changed() {
    let fake = start();
    let account = fake.account();
    let films = account.share_foreign("a@example.org", "films", false);
    let below = account.mkdir(films, "below");
    let url = account.add_bytes(below, "a.mkv", &b"a film"[..]);
    let ls = |params: Value| call(&fake, "folder/ls", &params);
    let user = |user: &str| json!({ "folder_id": 0, "sharing_user": user, "files": 1 });
    let root = ls(user("a@example.org")).json();
    assert_eq!(
        (&root["sub_folders"][0]["id"], &root["user"]),
        (&json!(films), &json!("a@example.org"))
    );
    assert!(ls(user("b@example.org")).message().contains("not allowed"));
    let own = ls(json!({ "files": 1 })).json();
    assert_eq!(own["sub_folders"].as_array().map_or(0, Vec::len), 0);
    let listed = ls(json!({ "folder_id": below, "files": 1 })).json();
    assert_eq!(
        (&listed["items"][0]["url"], &listed["rw"]),
        (&json!(url), &json!(0))
    );
    assert!(call(&fake, "download/get_token", &json!({ "url": url })).is_ok());
    for (name, params) in [
        ("folder/mkdir", json!({ "name": "x", "folder_id": films })),
        ("folder/rm", json!({ "folder_id": below })),
        ("folder/mv", json!({ "folder_id": below, "rename": "x" })),
        (
            "folder/mv",
            json!({ "folder_id": below, "destination_folder_id": 0 }),
        ),
        ("folder/share", json!({ "folder_id": films, "share": 1 })),
        (
            "file/mv",
            json!({ "urls": [url], "destination_folder_id": 0 }),
        ),
        ("file/rm", json!({ "files": [{ "url": url }] })),
        (
            "file/rename",
            json!({ "urls": [{ "url": url, "filename": "x" }] }),
        ),
        ("file/chattr", json!({ "urls": [url], "inline": 1 })),
        ("file/cp", json!({ "urls": [url], "folder_id": below })),
    ] {
        assert!(!call(&fake, name, &params).is_ok(), "{name} {params}");
    }
    assert!(call(&fake, "file/cp", &json!({ "urls": [url], "folder_id": 0 })).is_ok());
    let hidden = account.share_foreign("a@example.org", "hidden", true);
    account.add_bytes(hidden, "b", vec![1]);
    let listed = ls(json!({ "folder_id": hidden, "files": 1 })).json();
    assert_eq!(
        (&listed["hide_links"], listed["items"][0].get("url")),
        (&json!(1), None)
    );
}
