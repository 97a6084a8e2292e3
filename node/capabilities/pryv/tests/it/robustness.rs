//! Whatever is sent, the answer is never a defect of ours.

use axum::body::Body;
use http::Request;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::support::{ADMIN, Core, Wanted};

const SEGMENTS: &[&str] = &[
    "reg",
    "users",
    "user",
    "access",
    "system",
    "admin",
    "apps",
    "service",
    "info",
    "cores",
    "hostings",
    "records",
    "servers",
    "invitations",
    "post",
    "rename",
    "check_username",
    "check_email",
    "username",
    "email",
    "check",
    "uid",
    "server",
    "status",
    "invitationtoken",
    "samplebeta1",
    "bobby",
    "nosuchuser",
    "events",
    "streams",
    "auth",
    "login",
    "logout",
    "who-am-i",
    "access-info",
    "start",
    "infos",
    "u01QYly3MZxLdkGn",
    "a@b.c",
    "%00",
    "%ff",
    "..",
    "%2F",
    "é",
    "",
];
const PARAMETERS: &[&str] = &[
    "limit",
    "skip",
    "fromTime",
    "toTime",
    "streams",
    "streams[]",
    "streams[0][any][]",
    "types",
    "state",
    "running",
    "modifiedSince",
    "includeDeletions",
    "sortAscending",
    "includeHistory",
    "id",
    "parentId",
    "includeDeletionsSince",
    "username",
    "email",
    "count",
    "message",
    "after",
    "auth",
    "nosuch",
];
const VALUES: &[&str] = &[
    "",
    "0",
    "-1",
    "1e400",
    "-1.7976931348623157e%2B308",
    "abc",
    "true",
    "null",
    "[]",
    "{}",
    "[[]]",
    "[\"*\"]",
    "{\"any\":[\"*\"]}",
    "{\"any\":[]}",
    "[1]",
    "*",
    "%00",
    "%ff",
    "é",
    "a@b.c",
    "samplebeta1",
    ":_system:account",
    "#*",
    "999999999999999999999",
];
const BODIES: &[&str] = &[
    "",
    "{",
    "[]",
    "{}",
    "null",
    "1",
    "\"x\"",
    "[1]",
    "[[]]",
    "[{}]",
    "{\"username\":1,\"password\":[],\"email\":{},\"appId\":null}",
    "{\"username\":\"samplebeta9\",\"password\":\"sample-pass-1\",\"email\":\"a@b.c\",\"appId\":\"sample-app\"}",
    "{\"username\":\"samplebeta1\",\"password\":\"\\u0000\",\"appId\":\"\\ud83d\\ude00\"}",
    "{\"requestingAppId\":\"a\",\"requestedPermissions\":[{}],\"authUrl\":\"\"}",
    "{\"status\":\"ACCEPTED\",\"username\":\"\",\"token\":\"\"}",
    "{\"subdomain\":\".\",\"records\":{\"a\":{}}}",
    "{\"count\":1e300}",
    "{\"id\":\"*\",\"name\":\"\"}",
    "{\"id\":\"!!!\",\"name\":\"x\",\"parentId\":\"\"}",
    "{\"id\":\"a\",\"name\":\"x\",\"parentId\":\"a\"}",
    "{\"streamIds\":[\"a\",\"a\"],\"type\":\"a/b\",\"time\":1e308,\"duration\":1e308}",
    "{\"streamIds\":[\":_system:language\"],\"type\":\"a/b\",\"time\":-1e308,\"content\":{}}",
    "{\"streamIds\":[\"\"],\"type\":\"series:mass/kg\"}",
    "[{\"method\":\"events.get\",\"params\":{\"streams\":{\"any\":[1]}}}]",
    "[{\"method\":\"events.get\",\"params\":[]},{\"method\":\"streams.get\",\"params\":{\"id\":1}}]",
    "[{\"method\":\"callBatch\",\"params\":[{\"method\":\"auth.logout\",\"params\":{}}]}]",
    "[{\"method\":\"events.get\",\"params\":{\"limit\":-1,\"skip\":1e300,\"fromTime\":1e308}}]",
    "_method=DELETE&_json={}",
    "_json=%7B",
    "_auth=x&_method=get&_json=[]",
];

fn one_of(list: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        12 => prop::sample::select(list).prop_map(str::to_owned),
        1 => "[!-~&&[^#]]{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Each case is a core of its own with two users, asked many times. 503 would be an answer; with
    /// a platform that is up there is no reason for one.
    #[test]
    fn no_request_is_a_defect(
        domain in any::<bool>(),
        requests in prop::collection::vec(
            (
                prop::sample::select(&["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"][..]),
                prop::collection::vec(one_of(SEGMENTS), 0..5),
                prop::collection::vec((one_of(PARAMETERS), one_of(VALUES)), 0..4),
                prop::sample::select(&["", "good", "admin", "wrong", "Basic x", "Bearer "][..]),
                prop::sample::select(&[
                    "application/json", "application/x-www-form-urlencoded", "text/plain",
                    "multipart/form-data",
                ][..]),
                one_of(BODIES),
                prop::sample::select(&["pryv.test", "samplebeta1.pryv.test", "reg.pryv.test", "x"][..]),
            ),
            40,
        ),
    ) {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let core = Core::of(Wanted { domain: domain.then_some("pryv.test"), ..Wanted::default() });
            let request = Request::post("/users")
                .header("host", "pryv.test")
                .header("content-type", "application/json");
            let made = core.ask(request, crate::support::registration("samplebeta1").to_string()).await;
            let endpoint = made.json()["apiEndpoint"].as_str().unwrap().to_owned();
            let token = url::Url::parse(&endpoint).unwrap().username().to_owned();
            core.fake.add_elsewhere("bobby");
            for (method, segments, query, auth, kind, body, host) in requests {
                let query: Vec<String> =
                    query.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let uri = format!("/{}?{}", segments.join("/"), query.join("&"));
                let Ok(uri) = uri.parse::<http::Uri>() else { continue };
                let auth = match auth {
                    "good" => token.as_str(),
                    "admin" => ADMIN,
                    other => other,
                };
                let request = Request::builder()
                    .method(method)
                    .uri(&uri)
                    .header("host", host)
                    .header("authorization", auth)
                    .header("content-type", kind);
                let answer = core.ask(request, Body::from(body.clone())).await;
                prop_assert!(
                    answer.status < 500,
                    "{method} {uri} at {host} as {auth:?} with {kind} {body:?}: {answer:?}"
                );
                prop_assert!(answer.header("access-control-allow-origin").is_some());
            }
            Ok(())
        })?;
    }
}
