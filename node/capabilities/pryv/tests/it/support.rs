//! A platform that is a map, and a client without a socket.

mod answer;
pub(crate) mod documented;
mod mails;
mod phone;
mod registry;
mod system;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::body::Body;
use homecore_capability_pryv::{
    AccountDeletion, Addressing, FixedSettings, Previews, Pryv, Service, Settings,
};
use homecore_http::site::FixedSite;
use homecore_http::{
    App, Context, Health, Limits, Rate, RateLimits, RateRule, Readiness, SiteFacts,
};
use homecore_kernel::account::NewAccount;
use homecore_kernel::account::passwords::PasswordPolicy;
use homecore_kernel::attachment::token::ReadTokenKey;
use homecore_kernel::ports::{
    self, AccessRequestError, AccessRequestState, CoreInfo, Directory, Home, InvitationInfo,
    Platform, Records, RecordsError, RegisterError, Registered, Registration, Registry,
    Unavailable, UserInfo,
};
use homecore_kernel::trust::{TrustedApps, TrustedAppsSource};
use homecore_kernel::{Kernel, Settings as KernelSettings};
use homecore_store::blob::BlobOptions;
use homecore_store::memory::{MemoryBlobs, MemoryEngine, MemoryJournal};
use homecore_store::users::Options;
use homecore_store::{BlobStore, Users};
use homecore_types::{
    Clock, CoreId, Email, Millis, Secret, SystemClock, SystemEntropy, UserId, Username,
};
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use url::Url;

pub(crate) use answer::{Answer, error};

pub(crate) const ADMIN: &str = "peer-admin-key";
pub(crate) const HERE: &str = "http://127.0.0.1:3000/";
pub(crate) const THERE: &str = "https://core-b.test/";
pub(crate) const ORIGIN: &str = "https://l.backloop.dev";
pub(crate) const PASSWORD: &str = "sample-pass-1";

/// The platform of one core, or of two.
#[derive(Debug)]
pub(crate) struct Fake {
    kernel: OnceLock<Kernel>,
    state: Arc<Mutex<State>>,
    /// Nothing can be asked of the platform.
    pub(crate) down: AtomicBool,
    single: bool,
    pub(crate) fields: Arc<registry::Fields>,
}

#[derive(Debug, Default)]
struct State {
    users: BTreeMap<String, UserInfo>,
    /// Former names → present ones.
    aliases: BTreeMap<String, String>,
    /// Every address of those whose addresses changed.
    emails: BTreeMap<String, UserId>,
    invitations: Vec<InvitationInfo>,
    requests: BTreeMap<String, AccessRequestState>,
    records: BTreeMap<String, Records>,
}

impl State {
    fn present<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, String::as_str)
    }
}

impl Fake {
    fn up(&self) -> Result<(), Unavailable> {
        if self.down.load(Ordering::SeqCst) {
            return Err(Unavailable {
                reason: "no quorum".to_owned(),
                retry_after: Duration::from_secs(2),
            });
        }
        Ok(())
    }

    fn core(&self, name: &str) -> CoreInfo {
        let here = name != "core-b";
        let users = self.state.lock().unwrap();
        CoreInfo {
            id: CoreId::parse(name).unwrap(),
            url: if here { HERE } else { THERE }.to_owned(),
            hosting: (!here).then(|| "europe".to_owned()),
            available: here,
            users: u64::try_from(
                users
                    .users
                    .values()
                    .filter(|u| u.core.as_str() == name)
                    .count(),
            )
            .unwrap(),
        }
    }

    /// A user of the other core.
    pub(crate) fn add_elsewhere(&self, name: &str) {
        self.add(name, "core-b", UserId::generate(&SystemEntropy));
    }

    fn add(&self, name: &str, core: &str, id: UserId) {
        let user = UserInfo {
            id,
            username: Username::parse(name).unwrap(),
            core: CoreId::parse(core).unwrap(),
            unique: BTreeMap::from([("email".to_owned(), format!("{name}@example.com"))]),
            indexed: BTreeMap::from([("language".to_owned(), "en".to_owned())]),
        };
        self.state
            .lock()
            .unwrap()
            .users
            .insert(name.to_owned(), user);
    }

    pub(crate) fn records(&self, label: &str) -> Option<Records> {
        self.state.lock().unwrap().records.get(label).cloned()
    }

    pub(crate) fn invite(&self, token: &str, used_by: Option<&str>) {
        self.state.lock().unwrap().invitations.push(InvitationInfo {
            id: token.to_owned(),
            created_at: Millis(1_000),
            created_by: "admin".to_owned(),
            description: String::new(),
            consumed_at: used_by.map(|_| Millis(2_000)),
            consumed_by: used_by.map(str::to_owned),
        });
    }

    fn this_id(&self) -> &'static str {
        if self.single { "single" } else { "core-a" }
    }
}

#[async_trait::async_trait]
impl Directory for Fake {
    fn find(&self, username: &str) -> Option<Home> {
        let state = self.state.lock().unwrap();
        let user = state.users.get(state.present(username))?;
        Some(if user.core.as_str() == "core-b" {
            Home::Elsewhere {
                username: user.username.clone(),
                core_url: THERE.to_owned(),
            }
        } else {
            Home::Here {
                user: user.id.clone(),
                username: user.username.clone(),
            }
        })
    }

    async fn find_current(&self, username: &str) -> Result<Option<Home>, Unavailable> {
        self.up()?;
        Ok(self.find(username))
    }
}

#[async_trait::async_trait]
impl Platform for Fake {
    async fn register(&self, registration: Registration) -> Result<Registered, RegisterError> {
        self.up()?;
        if registration.hosting.as_deref() == Some("nowhere") {
            return Err(RegisterError::UnknownHosting("nowhere".to_owned()));
        }
        if !self
            .invitation_valid(registration.invitation.as_deref().unwrap_or(""))
            .await?
        {
            return Err(RegisterError::InvalidInvitation);
        }
        let name = registration.username.clone();
        let id = self.take(&registration)?;
        let kernel = self.kernel.get().unwrap();
        let token = kernel
            .create_account(&id, NewAccount::from(registration))
            .await
            .unwrap();
        Ok(Registered {
            username: name,
            token,
            core_url: HERE.to_owned(),
        })
    }

    async fn create_user(&self, user: ports::NewUser) -> Result<(), RegisterError> {
        self.place(user).await
    }

    async fn find_access(&self, id: &str) -> Result<Option<ports::AccessInfo>, Unavailable> {
        self.whose(id).await
    }

    async fn check_integrity(&self) -> Result<Vec<ports::IntegrityCheck>, Unavailable> {
        self.up()?;
        Ok(system::checks())
    }

    async fn username_taken(&self, username: &Username) -> Result<bool, Unavailable> {
        self.up()?;
        let state = self.state.lock().unwrap();
        Ok(state.users.contains_key(state.present(username.as_str())))
    }

    async fn find_by_email(&self, email: &Email) -> Result<Option<UserInfo>, Unavailable> {
        self.up()?;
        let state = self.state.lock().unwrap();
        let owner = state.emails.get(email.as_str());
        let holds = |user: &&UserInfo| {
            let present = user.unique.get("email");
            owner == Some(&user.id) || present.is_some_and(|e| e == email.as_str())
        };
        Ok(state.users.values().find(holds).cloned())
    }

    async fn find_user(&self, username: &str) -> Result<Option<UserInfo>, Unavailable> {
        self.up()?;
        let state = self.state.lock().unwrap();
        Ok(state.users.get(state.present(username)).cloned())
    }

    fn core_url(&self, core: &CoreId) -> Option<String> {
        Some(self.core(core.as_str()).url)
    }

    fn this_core(&self) -> CoreInfo {
        self.core(self.this_id())
    }

    async fn cores(&self) -> Vec<CoreInfo> {
        if self.single {
            vec![self.this_core()]
        } else {
            vec![self.core("core-a"), self.core("core-b")]
        }
    }

    async fn users(
        &self,
        core: Option<&CoreId>,
        after: Option<&Username>,
        limit: usize,
    ) -> Result<Vec<UserInfo>, Unavailable> {
        self.up()?;
        let state = self.state.lock().unwrap();
        Ok(state
            .users
            .values()
            .filter(|user| core.is_none_or(|core| user.core == *core))
            .filter(|user| after.is_none_or(|after| user.username > *after))
            .take(limit)
            .cloned()
            .collect())
    }

    async fn invitations(&self) -> Result<Vec<InvitationInfo>, Unavailable> {
        self.up()?;
        Ok(self.state.lock().unwrap().invitations.clone())
    }

    async fn create_invitations(
        &self,
        count: usize,
        created_by: &str,
        description: &str,
    ) -> Result<Vec<InvitationInfo>, Unavailable> {
        self.up()?;
        let made: Vec<InvitationInfo> = (0..count)
            .map(|n| InvitationInfo {
                id: format!("{n:08x}"),
                created_at: SystemClock.now(),
                created_by: created_by.to_owned(),
                description: description.to_owned(),
                consumed_at: None,
                consumed_by: None,
            })
            .collect();
        self.state.lock().unwrap().invitations.extend(made.clone());
        Ok(made)
    }

    async fn invitation_valid(&self, token: &str) -> Result<bool, Unavailable> {
        self.up()?;
        let state = self.state.lock().unwrap();
        Ok(state.invitations.is_empty()
            || state
                .invitations
                .iter()
                .any(|i| i.id == token && i.consumed_at.is_none()))
    }

    async fn open_access_request(
        &self,
        key: &Secret,
        request: AccessRequestState,
    ) -> Result<(), AccessRequestError> {
        self.up()?;
        self.state
            .lock()
            .unwrap()
            .requests
            .insert(key.expose().to_owned(), request);
        Ok(())
    }

    async fn access_request(&self, key: &Secret) -> Result<AccessRequestState, AccessRequestError> {
        self.up()?;
        let state = self.state.lock().unwrap();
        state
            .requests
            .get(key.expose())
            .cloned()
            .ok_or(AccessRequestError::Unknown)
    }

    async fn resolve_access_request(
        &self,
        key: &Secret,
        answer: AccessRequestState,
    ) -> Result<(), AccessRequestError> {
        self.up()?;
        let mut state = self.state.lock().unwrap();
        let present = state
            .requests
            .get_mut(key.expose())
            .ok_or(AccessRequestError::Unknown)?;
        if present.status != "NEED_SIGNIN" {
            return Err(AccessRequestError::AlreadyResolved);
        }
        *present = answer;
        Ok(())
    }

    async fn delete_user(&self, user: &UserId) -> Result<(), Unavailable> {
        let kernel = self.kernel.get().unwrap();
        kernel.remove_account(user).await.unwrap();
        self.up()?;
        self.state
            .lock()
            .unwrap()
            .users
            .retain(|_, held| held.id != *user);
        Ok(())
    }

    async fn put_records(&self, label: &str, records: Records) -> Result<(), RecordsError> {
        self.up()?;
        let mut state = self.state.lock().unwrap();
        if state.users.contains_key(label) {
            let (label, holder) = (label.to_owned(), "a user".to_owned());
            return Err(RecordsError::Taken { label, holder });
        }
        state.records.insert(label.to_owned(), records);
        Ok(())
    }

    async fn delete_records(&self, label: &str) -> Result<(), RecordsError> {
        self.up()?;
        let removed = self.state.lock().unwrap().records.remove(label);
        removed
            .map(|_| ())
            .ok_or_else(|| RecordsError::Unknown(label.to_owned()))
    }
}

#[derive(Debug)]
struct Ready;

impl Health for Ready {
    fn readiness(&self) -> Readiness {
        Readiness {
            ready: true,
            reasons: Vec::new(),
        }
    }

    fn metrics(&self) -> Option<String> {
        None
    }
}

/// Which platform a test wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) domain: Option<&'static str>,
    pub(crate) single: bool,
    pub(crate) rates: BTreeMap<Rate, RateRule>,
    pub(crate) hosting_regions: Option<Map<String, Value>>,
    pub(crate) apps: Vec<Map<String, Value>>,
    pub(crate) deletion: AccountDeletion,
    pub(crate) passwords: PasswordPolicy,
    /// Codes are sent.
    pub(crate) codes: bool,
}

pub(crate) fn settings(wanted: &Wanted) -> Settings {
    let url = |path: &str| format!("http://127.0.0.1:3990/{path}");
    Settings {
        service: Service {
            serial: "2019061301".to_owned(),
            name: "Test platform".to_owned(),
            home: url(""),
            support: url("support"),
            terms: url("terms"),
            event_types: url("flat.json"),
            assets: None,
            features: Map::new(),
            adapters: None,
        },
        addressing: match wanted.domain {
            Some(domain) => Addressing::Domain {
                domain: domain.to_owned(),
            },
            None => Addressing::Path {
                public_url: Url::parse(HERE).unwrap(),
            },
        },
        single_core: wanted.single,
        hosting_regions: wanted.hosting_regions.clone(),
        apps: wanted.apps.clone(),
        admin_key: Some(Secret::new(ADMIN)),
        default_auth_url: Some("http://127.0.0.1:3000/access/access.html".to_owned()),
        trusted_auth_urls: vec!["https://pages.test/consent".to_owned()],
        deletion: wanted.deletion,
    }
}

/// A core with its platform, and a way to ask it.
#[derive(Clone, Debug)]
pub(crate) struct Core {
    pub(crate) app: App,
    /// With all routes; `app` may have some of them only.
    whole: App,
    previews: App,
    pub(crate) fake: Arc<Fake>,
    pub(crate) mails: Arc<mails::Mails>,
    pub(crate) phone: Arc<phone::Phone>,
}

impl Core {
    /// A platform of two cores without a domain.
    pub(crate) fn new() -> Self {
        Self::of(Wanted::default())
    }

    pub(crate) fn of(wanted: Wanted) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let users = Users::start(
            Arc::new(MemoryEngine::new()),
            Arc::new(MemoryJournal::new()),
            Arc::clone(&clock),
            Options {
                writers: 1,
                readers: 1,
                ..Options::default()
            },
        )
        .unwrap();
        let blobs = Arc::new(MemoryBlobs::new(Arc::clone(&clock)));
        let fields = Arc::<registry::Fields>::default();
        let kernel = Kernel::new(
            users,
            BlobStore::new(blobs, &BlobOptions::default()),
            Arc::clone(&clock),
            Arc::new(SystemEntropy),
            KernelSettings {
                trusted_apps: TrustedAppsSource::fixed(
                    TrustedApps::parse("*@https://*.backloop.dev*").unwrap(),
                ),
                read_token_key: ReadTokenKey::fixed(Secret::new("files-secret")),
                passwords: wanted.passwords.clone(),
                account_schema: fields.source(),
                ..KernelSettings::default()
            },
        )
        .unwrap();
        let fake = Arc::new(Fake {
            kernel: OnceLock::new(),
            state: Arc::default(),
            down: AtomicBool::new(false),
            single: wanted.single,
            fields,
        });
        fake.kernel.set(kernel.clone()).unwrap();
        kernel.connect(&(Arc::clone(&fake) as Arc<dyn Registry>));
        let mails = Arc::new(mails::Mails::default());
        kernel.connect_mails(Arc::clone(&mails) as Arc<dyn ports::Mails>);
        let phone = Arc::new(phone::Phone::default());
        if wanted.codes {
            kernel.connect_codes(Arc::clone(&phone) as Arc<dyn ports::CodeSender>);
        }
        let facts = SiteFacts {
            domain: wanted.domain.map(str::to_owned),
            core: fake.this_id().to_owned(),
            cores: ["core-a", "core-b"].map(str::to_owned).into(),
            static_labels: ["sandbox".to_owned()].into(),
            serial: "2019061301".to_owned(),
        };
        let context = Arc::new(Context::new(
            Arc::new(FixedSite(Arc::new(facts))),
            Arc::clone(&fake) as Arc<dyn Directory>,
            Arc::clone(&clock),
            Limits {
                body_bytes_max: 1024 * 1024,
                upload_bytes_max: 1024 * 1024,
                ..Limits::default()
            },
            RateLimits::new(clock, wanted.rates.clone()),
        ));
        let pryv = Pryv::new(
            kernel,
            Arc::clone(&fake) as Arc<dyn Platform>,
            Arc::new(FixedSettings(Arc::new(settings(&wanted)))),
            Arc::new(SystemEntropy),
        );
        let own = Arc::new(Previews(pryv.clone()));
        let previews = App::new(Arc::clone(&context), &[own], Arc::new(Ready)).unwrap();
        let app = App::new(context, &[Arc::new(pryv)], Arc::new(Ready)).unwrap();
        Self {
            whole: app.clone(),
            app,
            previews,
            fake,
            mails,
            phone,
        }
    }

    /// The same core through its listener for previews.
    pub(crate) fn previews(&self) -> Self {
        Self {
            app: self.previews.clone(),
            ..self.clone()
        }
    }

    pub(crate) async fn ask(
        &self,
        request: http::request::Builder,
        body: impl Into<Body>,
    ) -> Answer {
        let (asked, body) = request.body(body.into()).unwrap().into_parts();
        let request = Request::from_parts(asked.clone(), body);
        let response = self.app.handle(request).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let answer = Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
            bytes,
        };
        let document = documented::document(&self.whole).await;
        documented::check(document, &asked, answer.status, &answer.text);
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Request::get(path), Body::empty()).await
    }

    pub(crate) async fn get_as(&self, token: &str, path: &str) -> Answer {
        self.ask(
            Request::get(path).header("authorization", token),
            Body::empty(),
        )
        .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = Request::post(path).header("content-type", "application/json");
        self.ask(request, body.to_string()).await
    }

    pub(crate) async fn post_as(&self, token: &str, path: &str, body: &Value) -> Answer {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header("authorization", token);
        self.ask(request, body.to_string()).await
    }

    /// Registers somebody and returns the token.
    /// A request with a token; with a body if one is given.
    pub(crate) async fn send_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("authorization", token);
        let body = body.map(Value::to_string).unwrap_or_default();
        self.ask(request, body).await
    }

    pub(crate) async fn register(&self, name: &str) -> String {
        let answer = self.post("/users", &registration(name)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let endpoint = answer.json()["apiEndpoint"].as_str().unwrap().to_owned();
        Url::parse(&endpoint).unwrap().username().to_owned()
    }
}

pub(crate) fn registration(name: &str) -> Value {
    json!({
        "appId": "sample-app",
        "username": name,
        "password": PASSWORD,
        "email": format!("{name}@example.com"),
        "hosting": "default",
        "language": "en",
        "invitationToken": "enjoy",
        "referer": "samples",
    })
}
