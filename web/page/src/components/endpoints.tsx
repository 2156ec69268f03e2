/** The endpoints of remote hops: who serves, who is well, and what a failover did. */

import type { Topology } from "../model/graph.js";
import { poolStory, poolsOf, shortEndpoint, standing } from "../model/endpoints.js";
import { formatMicros } from "../model/units.js";

const BREAKERS: Record<string, string> = { closed: "closed", open: "open", half_open: "half open" };

/** A table of the pools; nothing where no hop tells of one. */
export function Endpoints(props: { topology: Topology }) {
  const pools = poolsOf(props.topology.hops);
  if (pools.length === 0) return null;
  return (
    <div class="table-scroll endpoints" tabIndex={0} role="group" aria-label="Endpoints of the remote hops">
      <table>
        <caption>Endpoints</caption>
        <thead>
          <tr>
            <th scope="col">Hop</th>
            <th scope="col">Endpoint</th>
            <th scope="col">Health</th>
            <th scope="col" class="wide">Breaker</th>
            <th scope="col" class="number">Load</th>
            <th scope="col" class="number">Latency</th>
            <th scope="col" class="number wide">Weight</th>
          </tr>
        </thead>
        {pools.map((pool) => (
          <tbody key={pool.hop}>
            {pool.endpoints.map((endpoint, index) => {
              const { text, lamp } = standing(endpoint);
              return (
                <tr key={endpoint.endpoint} class={endpoint.current ? "watched" : ""}>
                  <td>{index === 0 ? pool.hop : <span class="hidden">{pool.hop}</span>}</td>
                  <th scope="row" class="mono" title={endpoint.endpoint}>
                    {shortEndpoint(endpoint.endpoint)}
                    {endpoint.current && <span class="tag">serves</span>}
                  </th>
                  <td>
                    <span class={`lamp ${lamp}`} aria-hidden="true" /> {text}
                  </td>
                  <td class="wide">{BREAKERS[endpoint.breaker] ?? endpoint.breaker}</td>
                  <td class="number" title="Streams and calls of this gateway there">
                    {endpoint.in_flight}
                  </td>
                  <td class="number">{endpoint.latency_ms === null ? "–" : formatMicros(endpoint.latency_ms * 1000)}</td>
                  <td class="number wide">{endpoint.weight}</td>
                </tr>
              );
            })}
            {poolStory(pool) !== "" && (
              <tr class="story">
                <td />
                <td colSpan={6}>
                  {pool.hop}: {poolStory(pool)} in this session
                </td>
              </tr>
            )}
          </tbody>
        ))}
      </table>
    </div>
  );
}
