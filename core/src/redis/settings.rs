//! A configuration after its checks, in the form in which connections want it.

use redis::RedisConnectionInfo;

use crate::Result;

use super::config::{RedisConfig, Servers};
use super::stream::Tls;

pub(super) struct Settings {
    pub(super) config: RedisConfig,
    pub(super) login: Login,
    pub(super) tls: Option<Tls>,
}

/// Who logs in, and where.
#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u32,
}

impl Settings {
    pub(super) fn new(config: RedisConfig) -> Result<Self> {
        let tls = config.tls.as_ref().map(Tls::new).transpose()?;
        let login = Login {
            username: config.username.clone(),
            password: config.password.clone(),
            database: config.database,
        };
        Ok(Self { config, login, tls })
    }

    /// For the sentinels themselves.
    pub(super) fn sentinel_login(&self) -> Login {
        match &self.config.servers {
            Servers::Sentinel { username, password, .. } => {
                Login { username: username.clone(), password: password.clone(), database: 0 }
            }
            _ => Login::default(),
        }
    }
}

impl Login {
    /// The same for the client library, where it logs in itself. Channels know no databases.
    pub(super) fn for_subscriptions(&self) -> RedisConnectionInfo {
        let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(username) = &self.username {
            info = info.set_username(username);
        }
        if let Some(password) = &self.password {
            info = info.set_password(password);
        }
        info
    }
}
