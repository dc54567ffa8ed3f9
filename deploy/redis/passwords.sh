#!/bin/sh
# Gives every user of an ACL file a password, and keeps those that there are:
#
#   passwords.sh users.acl /etc/valkey/users.acl /etc/valkey/passwords
#
# The second is made from the first, with the hash of each user's password in it; the third is a folder with the
# passwords themselves, one file a user, for root's eyes. To change one, remove its file and run this again; a password
# of somebody's own choice may be put there before. Then `ACL LOAD` as execd-admin, or start the server anew.
set -eu
[ $# -eq 3 ] || { echo "usage: $0 SOURCE TARGET FOLDER" >&2; exit 2; }
source=$1 target=$2 folder=$3
umask 077
mkdir -p "$folder"

password_of() { # made where there is none: 256 random bits
    [ -s "$folder/$1" ] || head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$folder/$1"
    cat "$folder/$1"
}

while read -r word user state rest; do
    case "$state $rest" in
    "on resetpass "*)
        hash=$(printf %s "$(password_of "$user")" | sha256sum | cut -d ' ' -f 1)
        rest="resetpass #$hash ${rest#resetpass }" ;;
    esac
    echo "$word $user $state $rest"
done < "$source" > "$target.new"
# The server reads it as a user of its own, by the group that it had before, or that its folder has.
chgrp "$(stat -c %g "$target" 2>/dev/null || stat -c %g "$(dirname "$target")")" "$target.new"
chmod 640 "$target.new"
mv "$target.new" "$target"
