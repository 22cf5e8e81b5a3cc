# shellcheck shell=bash
# RabbitMQ's users and their rights.

# Each role has a user with no more rights than it needs (docs/security.md). A user's password is the user's name.
# This changes a running broker, so nothing has to restart.
make_users() {
    local ns=${AMQP_NAMESPACE:-longshore} own='amq\.gen-.*' there role
    there=$(in_rabbitmq rabbitmqctl -q --no-table-headers list_permissions -p /)
    for role in worker publisher subscriber; do
        local rights=("^$own\$" "^$own\$" "^($own|$ns\.(status|results))\$")
        case $role in
        worker) rights=("^($ns\..*|$own)\$" "^($ns\..*|$own|amq\.default)\$" "^($ns\..*|$own)\$") ;;
        publisher) rights=("^$own\$" "^$ns\.jobs\$" "^$own\$") ;;
        esac
        if grep -qxF "$(printf '%s\t%s\t%s\t%s' "longshore-$role" "${rights[@]}")" <<<"$there"; then continue; fi
        if ! grep -q "^longshore-$role"$'\t' <<<"$there"; then
            in_rabbitmq rabbitmqctl -q add_user "longshore-$role" "longshore-$role" ||
                in_rabbitmq rabbitmqctl -q change_password "longshore-$role" "longshore-$role"
        fi
        in_rabbitmq rabbitmqctl -q set_permissions -p / "longshore-$role" "${rights[@]}"
    done
}

in_rabbitmq() { compose exec -T rabbitmq "$@"; }
