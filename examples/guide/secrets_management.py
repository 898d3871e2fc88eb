"""The guide's blocks on secrets: to the letter below the line, but for those that have a name. Needs a .env file."""

import os

import modal

app = modal.App("secrets-management")

# ----------------------------------------------------------------------------------------------------
# From dictionary (inline)
secret = modal.Secret.from_dict({"API_KEY": "xxx", "DB_PASSWORD": "yyy"})

# ----------------------------------------------------------------------------------------------------
inline = secret

# ----------------------------------------------------------------------------------------------------
# From .env file
secret = modal.Secret.from_dotenv()

# ----------------------------------------------------------------------------------------------------
@app.function(secrets=[inline, secret])
def names_of_secrets():
    return [name for name in ("API_KEY", "DB_PASSWORD", "SERVICE_TOKEN") if name in os.environ]

@app.local_entrypoint()
def main():
    print(*names_of_secrets.remote())
