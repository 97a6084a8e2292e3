//! What is said of when a preview was changed.

use super::*;

const NOW: Millis = Millis(1_700_000_000_500);

fn answer(modified: i64, headers: &[(http::HeaderName, &str)]) -> (u16, Option<String>) {
    let mut asked = HeaderMap::new();
    for (name, value) in headers {
        asked.insert(name, HeaderValue::from_str(value).unwrap());
    }
    let preview = Preview {
        jpeg: "picture".into(),
        tag: "tag".to_owned(),
        modified: Millis(modified),
    };
    let answer = respond(&asked, preview, NOW).unwrap();
    let date = answer.headers().get(LAST_MODIFIED);
    let date = date.map(|date| date.to_str().unwrap().to_owned());
    (answer.status().as_u16(), date)
}

#[test]
fn a_date_is_said_where_it_tells_what_is_meant() {
    let second = "Tue, 14 Nov 2023 22:13:19 GMT".to_owned();
    assert_eq!(answer(NOW.0 - 1_000, &[]), (200, Some(second)));
    let epoch = "Thu, 01 Jan 1970 00:00:00 GMT".to_owned();
    assert_eq!(answer(0, &[]), (200, Some(epoch.clone())));
    assert_eq!(answer(i64::MIN, &[]), (200, Some(epoch)));
    // Another may follow in the same second; and the years end with 9999.
    for modified in [NOW.0 - 999, NOW.0, 253_402_300_800_000, i64::MAX] {
        assert_eq!(answer(modified, &[]), (200, None));
    }
}

#[test]
fn a_date_confirms_what_cannot_be_another() {
    let since = [(IF_MODIFIED_SINCE, "Tue, 14 Nov 2023 22:13:19 GMT")];
    for (modified, status) in [
        (NOW.0 - 1_000, 304),
        (NOW.0 - 1_500, 304),
        (NOW.0 - 9_000, 304),
        (NOW.0 - 999, 200),
        (NOW.0 - 400, 200),
    ] {
        assert_eq!(answer(modified, &since).0, status, "{modified}");
    }
    let now = [(IF_MODIFIED_SINCE, "Tue, 14 Nov 2023 22:13:20 GMT")];
    assert_eq!(answer(NOW.0 - 200, &now).0, 200);
    let both = [now[0].clone(), (IF_NONE_MATCH, "\"x\"")];
    assert_eq!(answer(0, &both).0, 200);
}
