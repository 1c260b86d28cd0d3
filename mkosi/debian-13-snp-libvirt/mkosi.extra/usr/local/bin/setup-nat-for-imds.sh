#!/bin/sh
# Let the pod reach the metadata service of its cloud: a link-local address, which the tunnel to the worker node does not
# lead to. The pod's namespace gets a link of its own to this machine, which answers for the address (proxy ARP) and
# hands the pod's packets on as its own.
set -eu

# which address the service has, by what the machine says of itself: FIELD VALUE ADDRESS, from the catalogue
address=
while IFS='	' read -r field value found; do
    if read -r said <"/sys/class/dmi/id/$field" && [ "$said" = "$value" ]; then
        address=$found
    fi
done </usr/local/lib/podvm/metadata-services
[ -n "$address" ] || exit 0
outside=podvm-imds0
inside=podvm-imds1

# the forwarder is up before it has made the pod's network: that comes with the first pod
tries=0
until pod=$(ip -n podns -4 -o route get "$address" 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p') && [ -n "$pod" ]; do
    tries=$((tries + 1))
    if [ "$tries" -ge 120 ]; then
        echo "the pod has no address after 60 s" >&2
        exit 1
    fi
    sleep 0.5
done

ip link add "$outside" type veth peer name "$inside" netns podns
# proxy ARP needs an address on the link, any that nobody else has
ip address add 169.254.99.99/32 dev "$outside"
ip link set "$outside" up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >"/proc/sys/net/ipv4/conf/$outside/proxy_arp"
echo 0 >"/proc/sys/net/ipv4/neigh/$outside/proxy_delay"

ip -n podns link set "$inside" up
ip -n podns route add "$address/32" dev "$inside" src "$pod"
ip route add "$pod/32" dev "$outside"
hardware=$(ip -n podns -o link show "$inside" | sed -n 's/.* link\/ether \([0-9a-f:]*\).*/\1/p')
ip neigh replace "$pod" lladdr "$hardware" dev "$outside"
iptables -t nat -A POSTROUTING -s "$pod/32" -d "$address/32" -j MASQUERADE
